package main

import (
	"strings"
	"testing"
	"time"
)

func by(t *testing.T, hosts int, way string) outcome {
	t.Helper()
	for _, o := range ways(hosts) {
		if o.way == way {
			return o
		}
	}
	t.Fatal(way)
	return outcome{}
}

// What docs/images.md advises follows from the calculation.
func TestScale(t *testing.T) {
	tree, sqfs := by(t, 1000, "tree on NFS"), by(t, 1000, "sqfs on NFS")
	if sqfs.ready*3 > tree.ready || sqfs.ops*10 > tree.ops {
		t.Errorf("sqfs on NFS: %+v; a tree: %+v", sqfs, tree)
	}
	if staged := by(t, 1000, "sqfs on NFS, copied to each host by sbcast"); staged.ready > sqfs.ready || staged.shared*100 > sqfs.shared {
		t.Errorf("staged: %+v; read where it is: %+v", staged, sqfs)
	}
	if each := by(t, 1000, "each host pulls to its disk"); each.requests != 13_000 || each.ready < 200*time.Second {
		t.Errorf("each pulls: %+v", each)
	}
	// For a few hosts it is the import that takes the time, and staging makes it no shorter.
	if few, staged := by(t, 4, "sqfs on NFS"), by(t, 4, "sqfs on NFS, copied to each host by sbcast"); few.ready > staged.ready {
		t.Errorf("4 hosts: %+v; staged: %+v", few, staged)
	}
}

// One more host never makes anything faster.
func TestScaleGrows(t *testing.T) {
	for hosts := 1; hosts < 5000; hosts = hosts*3/2 + 1 {
		now, more := ways(hosts), ways(hosts*3/2+1)
		for i := range now {
			if more[i].ready < now[i].ready || more[i].requests < now[i].requests || more[i].shared < now[i].shared {
				t.Errorf("%d hosts: %+v, then %+v", hosts, now[i], more[i])
			}
		}
	}
}

// The table says what failed, and compares with the first contestant.
func TestTable(t *testing.T) {
	tree := row{contestant: contestant{name: "tree"}, size: 100, small: figure{CPU: time.Second}}
	tree.cold.Written = 105 << 20
	other := row{contestant: contestant{name: "other"}, small: figure{CPU: 3 * time.Second}, big: figure{Failed: "x"}}
	broken := row{contestant: contestant{name: "broken"}, cold: figure{Failed: "no such thing"}}
	text := table([]row{tree, other, broken}, served{layers: 10})
	for _, want := range []string{"| tree | 0.0 s, 0.0 s | 105 MB |", "3.0 s (3.00) | failed |", "broken | does not work here: no such thing |"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
}
