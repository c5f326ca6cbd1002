package runtime

import (
	"errors"
	"testing"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestUpdateRepeatsDevices: an engine may send the device rules that the container was made
// with, but no others.
func TestUpdateRepeatsDevices(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	made := []specs.LinuxDeviceCgroup{
		{Allow: false, Access: "rwm"},
		{Allow: true, Type: "c", Major: number(10), Minor: number(229), Access: "rw"},
	}
	spec := specconv.Example()
	spec.Linux.Resources.Devices = made
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: "x", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	more := append(made[:2:2], specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: number(1), Minor: number(11), Access: "r"})
	for _, test := range []struct {
		name  string
		sent  []specs.LinuxDeviceCgroup
		fixed bool
	}{
		{"none", nil, false},
		{"the same", made, false},
		{"one more", more, true},
		{"another", []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}, true},
		{"another minor", []specs.LinuxDeviceCgroup{made[0], {Allow: true, Type: "c", Major: number(10), Minor: number(1), Access: "rw"}}, true},
	} {
		resources := *config.Cgroups.Resources
		err := change(&resources, &specs.LinuxResources{Devices: test.sent})
		if errors.Is(err, errFixed) != test.fixed {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// Update also applies what engines send beside the limits of memory.
func TestUpdateOfMemory(t *testing.T) {
	swappiness, disable := uint64(10), true
	var changed cgroups.Resources
	sent := &specs.LinuxMemory{Swappiness: &swappiness, DisableOOMKiller: &disable, CheckBeforeUpdate: &disable}
	if err := change(&changed, &specs.LinuxResources{Memory: sent}); err != nil {
		t.Fatal(err)
	}
	if s := changed.MemorySwappiness; s == nil || *s != swappiness || !changed.OomKillDisable || !changed.MemoryCheckBeforeUpdate {
		t.Errorf("%+v", changed)
	}
	if err := change(&changed, &specs.LinuxResources{Memory: new(specs.LinuxMemory)}); err != nil || changed.MemorySwappiness == nil || !changed.OomKillDisable {
		t.Errorf("what was not sent changed: %v, %+v", err, changed)
	}
}
