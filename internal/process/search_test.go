package process

import "testing"

// Made-up numbers of pid namespaces do not delay root, however many there are: after some time the
// answers are not sure.
func TestSearchIsBounded(t *testing.T) {
	defer searched.Store(searched.Swap(int64(searchPatience) + 1))
	if _, sure := Locate(5_000_000, ID{Pid: 1, Start: 1}); sure {
		t.Error("it searches on")
	}
	if _, sure := Locate(Numbering(), ID{Pid: 1, Start: 1}); !sure {
		t.Error("its own processes it need not search")
	}
}
