package runtime

import (
	"errors"
	"os"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestCheckUser(t *testing.T) {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, Size: 1}, {ContainerID: 1000, Size: 1000}, {ContainerID: 4294967294, Size: 1}}
	for _, u := range []specs.User{{}, {UID: 1000, GID: 1999}, {UID: 4294967294, AdditionalGids: []uint32{0, 1500}}} {
		if err := checkUser(u, ids, ids); err != nil {
			t.Errorf("%+v: %v", u, err)
		}
	}
	const reason = ": no such id in the container's user namespace: it has 0, 1000 to 1999, 4294967294"
	for want, u := range map[string]specs.User{
		"process.user.uid 1":                     {UID: 1},
		"process.user.uid 2000":                  {UID: 2000, GID: 2000},
		"process.user.gid 999":                   {GID: 999},
		"process.user.additionalGids: 429496729": {AdditionalGids: []uint32{0, 429496729}},
	} {
		err := checkUser(u, ids, ids)
		if err == nil || err.Error() != want+reason || !errors.Is(err, ErrNoSuchID) {
			t.Errorf("%+v: %v, want %s%s", u, err, want, reason)
		}
	}
}

func TestReadMappings(t *testing.T) {
	ids, err := readMappings("self", "uid_map")
	if err != nil || !mapped(uint32(os.Getuid()), ids) {
		t.Errorf("%v, %v: uid %d is not in it", ids, err, os.Getuid())
	}
}
