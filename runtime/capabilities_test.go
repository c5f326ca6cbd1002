package runtime

import (
	"reflect"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/runtime/inplace"
)

// TestWithoutMissing: a capability that the caller lacks is left out of every set. One that
// is unknown, to us or perhaps to the kernel, is left to libcontainer.
func TestWithoutMissing(t *testing.T) {
	names := []string{"CAP_CHOWN", "CAP_KILL", "CAP_NONE"}
	all := &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names, Inheritable: names, Ambient: names}
	chown, _ := inplace.CapabilityBit("CAP_CHOWN")
	got := without(all, "x", ^chown)
	kept := []string{"CAP_KILL", "CAP_NONE"}
	if want := (&specs.LinuxCapabilities{Bounding: kept, Effective: kept, Permitted: kept, Inheritable: kept, Ambient: kept}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !reflect.DeepEqual(all.Bounding, names) {
		t.Errorf("the specification itself was changed: %v", all.Bounding)
	}
	if got := without(all, "x", ^uint64(0)); got != all {
		t.Errorf("nothing is missing, and it became %+v", got)
	}
	if got := withoutMissing("x", nil); got != nil {
		t.Errorf("none became %+v", got)
	}
}

// TestOwnCapabilities: those that the kernel shows of this process, which are in the
// bounding set as well; a bit that no kernel knows is not missing.
func TestOwnCapabilities(t *testing.T) {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	has := ownCapabilities()
	if permitted := uint64(data[0].Permitted); has&(1<<32-1)&^permitted != 0 {
		t.Errorf("%x, but permitted are %x", has, permitted)
	}
	if has>>63 != 1 {
		t.Errorf("%x: a capability that the kernel does not know is missing", has)
	}
}
