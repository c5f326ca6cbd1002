package runtime

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestForeignIDs(t *testing.T) {
	t.Parallel()
	all := ids{[]specs.LinuxIDMapping{{ContainerID: 0, Size: 2}}, []specs.LinuxIDMapping{{ContainerID: 5, Size: 1}}}
	for option, want := range map[string]bool{
		"uid=0": false, "uid=1": false, "uid=2": true, "gid=5": false, "gid=0": true, "gid": false, "uid=x": false, "mode=5": false, "gid=4294967296": false,
	} {
		if got := all.foreign(option); got != want {
			t.Errorf("%s: %v", option, got)
		}
	}
}
