package process

import "testing"

// Made-up numbers of pid namespaces, however many, do not keep root: past some time spent
// on them nothing is said of them.
func TestSearchIsBounded(t *testing.T) {
	defer searched.Store(searched.Swap(int64(searchPatience) + 1))
	if _, sure := Locate(5_000_000, ID{Pid: 1, Start: 1}); sure {
		t.Error("it searches on")
	}
	if _, sure := Locate(Numbering(), ID{Pid: 1, Start: 1}); !sure {
		t.Error("its own processes it need not search")
	}
}
