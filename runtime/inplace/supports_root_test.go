package inplace

import (
	"os"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Of all mappings, those are supported that make the caller root, with root as the user.
func TestSupportsOnlyOneRoot(t *testing.T) {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	own := func(id uint32) []specs.LinuxIDMapping { return []specs.LinuxIDMapping{{HostID: id, Size: 1}} }
	for name, test := range map[string]struct {
		uids, gids []specs.LinuxIDMapping
		user       uint32
		supported  bool
	}{
		"root":               {own(uid), own(gid), 0, true},
		"another user":       {own(uid), own(gid), 7, false},
		"another's id":       {own(uid + 1), own(gid), 0, false},
		"another's group":    {own(uid), own(gid + 1), 0, false},
		"no groups":          {own(uid), nil, 0, false},
		"more ids":           {[]specs.LinuxIDMapping{{HostID: uid, Size: 2}}, own(gid), 0, false},
		"two lines":          {append(own(uid), specs.LinuxIDMapping{ContainerID: 1, HostID: uid + 1, Size: 1}), own(gid), 0, false},
		"under another name": {[]specs.LinuxIDMapping{{ContainerID: 7, HostID: uid, Size: 1}}, own(gid), 7, false},
	} {
		spec := supportedSpec(t)
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = test.uids, test.gids
		spec.Process.User.UID, spec.Process.User.GID = test.user, test.user
		why := Supports(spec)
		if (why == "") != test.supported {
			t.Errorf("%s: %q", name, why)
		}
	}
	spec := supportedSpec(t)
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = own(uid), own(gid)
	spec.Process.User.UID, spec.Process.User.GID = 0, 0
	task := taskOf(t, spec)
	if further, err := task.Further(task.Process()); err != nil || !task.Root || task.Process().User.UID != 0 || further.Root {
		t.Errorf("a further process: %+v, %v", further, err)
	}
	if uid != 0 {
		if _, err := taskOf(t, supportedSpec(t)).Further(task.Process()); err == nil {
			t.Error("root is added to a container that has no root")
		}
	}
}
