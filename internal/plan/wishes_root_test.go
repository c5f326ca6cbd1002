package plan

import (
	"errors"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scene"
)

// What an engine passes on as annotations mounts nothing of the host's into a container of root's.
func TestRootsContainersHaveNoWishes(t *testing.T) {
	tree, err := host.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for name, value := range map[string]string{
		"mounts": "/etc/shadow:/x", "env": "A=b", "no_env": "A*", "workdir": "/", "home": "true", "entrypoint": "true",
		"writable": "tmpfs", "remap_root": "true", "unshare": "net", "save": "x.sqsh",
	} {
		r, err := request.Read(map[string]string{"org.ocishim." + name: value}, nil, false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b := &bundle.Bundle{Rootfs: t.TempDir(), Spec: &specs.Spec{Root: &specs.Root{}, Process: &specs.Process{}, Linux: &specs.Linux{}}}
		_, err = Make(b, r, Scene{Scene: scene.Scene{Host: tree}, Config: config.Default(), Root: true})
		if !errors.Is(err, ErrEngine) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
