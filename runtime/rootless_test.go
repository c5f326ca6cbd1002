package runtime

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// specWith returns a spec with the namespaces and mounts, for user 1000 with further groups.
func specWith(namespaces []specs.LinuxNamespaceType, mounts ...specs.Mount) *specs.Spec {
	s := &specs.Spec{
		Process: &specs.Process{User: specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{7}}},
		Linux:   &specs.Linux{},
		Mounts:  mounts,
	}
	for _, t := range namespaces {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: t})
	}
	return s
}

func TestRootlessIdentity(t *testing.T) {
	e := rootlessEdit(specWith([]specs.LinuxNamespaceType{specs.PIDNamespace}), 4242, 4343)
	if len(e.Namespaces) != 1 || e.Namespaces[0].Type != specs.UserNamespace {
		t.Errorf("namespaces %v, want a user namespace", e.Namespaces)
	}
	if len(e.UIDMappings) != 1 || e.UIDMappings[0].HostID != 4242 || e.GIDMappings[0].HostID != 4343 {
		t.Errorf("mappings %v and %v", e.UIDMappings, e.GIDMappings)
	}
	if e.User == nil || e.User.UID != 0 || e.User.GID != 0 || e.User.AdditionalGids != nil {
		t.Errorf("user %+v, want root alone: no other id exists inside", e.User)
	}
}

// A spec with mappings of its own, or with a namespace to join, keeps its user.
func TestRootlessKeeps(t *testing.T) {
	own := specWith([]specs.LinuxNamespaceType{specs.UserNamespace})
	own.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	joining := specWith(nil)
	joining.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.UserNamespace, Path: "/proc/1/ns/user"}}
	for name, spec := range map[string]*specs.Spec{"mappings": own, "joined": joining} {
		e := rootlessEdit(spec, 4242, 4242)
		if e.User != nil || e.UIDMappings != nil || e.Namespaces != nil {
			t.Errorf("%s: %+v, want no change", name, e)
		}
	}
}

func TestRootlessMounts(t *testing.T) {
	kernel := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"ro"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue"},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"mode=0620", "gid=5", "uid=0"}},
	}
	private := []specs.LinuxNamespaceType{specs.PIDNamespace, specs.NetworkNamespace, specs.IPCNamespace}
	e := rootlessEdit(specWith(private, kernel...), 4242, 4242)
	if len(e.Mounts) != 1 || !slices.Equal(e.Mounts[0].Options, []string{"mode=0620", "uid=0"}) {
		t.Errorf("with namespaces of its own: %+v, want only devpts without gid=5", e.Mounts)
	}
	e = rootlessEdit(specWith(nil, kernel...), 4242, 4242)
	var got []string
	for _, m := range e.Mounts[:len(e.Mounts)-1] {
		got = append(got, m.Destination+" "+m.Source+" "+strings.Join(m.Options, ","))
	}
	queues := "/dev/mqueue /dev/mqueue rbind,nosuid,noexec,nodev"
	if _, err := os.Stat("/dev/mqueue"); err != nil {
		queues = "/dev/mqueue tmpfs nosuid,noexec,nodev"
	}
	want := []string{"/proc /proc rbind,nosuid,noexec,nodev", "/sys /sys rbind,nosuid,noexec,nodev,ro", "/sys/fs/cgroup cgroup nosuid,noexec,nodev,relatime,ro", queues}
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		want = slices.Delete(want, 2, 3)
	}
	if !slices.Equal(got, want) {
		t.Errorf("with the host's namespaces: %q, want %q", got, want)
	}
}
