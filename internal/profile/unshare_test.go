package profile

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/request"
)

// What shows a namespace's content comes with it, over the host's.
func TestUnshare(t *testing.T) {
	for words, want := range map[string]struct{ namespace, mounts string }{
		"net": {"network", "/proc /dev /dev/shm"}, "uts": {"uts", "/proc /dev /dev/shm"},
		"ipc": {"ipc", "/proc /dev /dev/shm /dev/mqueue"}, "pid": {"pid", "/proc /dev /dev/shm"},
	} {
		b := &bundle.Bundle{Spec: &specs.Spec{Mounts: []specs.Mount{bind("/proc", "/proc"), bind("/dev", "/dev"), bind("/dev/shm", "/dev/shm")}}}
		if err := b.Apply(Unshare([]request.Choice{{Value: words, By: "--unshare"}}, func(string) bool { return true })); err != nil {
			t.Fatal(err)
		}
		namespaces := b.Spec.Linux.Namespaces
		if len(namespaces) != 1 || string(namespaces[0].Type) != want.namespace || targets(b.Spec.Mounts) != want.mounts {
			t.Errorf("%s: namespaces %v, mounts %s", words, namespaces, targets(b.Spec.Mounts))
		}
		if own := b.Spec.Mounts[0].Type == "proc"; own != (words == "pid") {
			t.Errorf("%s: /proc is %+v", words, b.Spec.Mounts[0])
		}
		if own := b.Spec.Mounts[2].Type == "tmpfs"; own != (words == "ipc") {
			t.Errorf("%s: /dev/shm is %+v", words, b.Spec.Mounts[2])
		}
	}
	e := Unshare([]request.Choice{{Value: "ipc"}}, func(string) bool { return false })
	if got := targets(e.Mounts); got != "/dev/shm" {
		t.Errorf("on a host without message queues: %s", got)
	}
}
