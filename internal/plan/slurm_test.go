package plan

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/mpi"
	"github.com/ocishim/ocishim/internal/request"
)

// A feature that the site asks for and the host lacks is a warning, not an error.
func TestSlurmOfHostWithout(t *testing.T) {
	scene := nowhere(t)
	result, err := Make(task(t), request.Request{}, scene)
	if err != nil || len(result.Edits) != 1 || len(result.Warnings) > 0 {
		t.Errorf("not asked for: %v, %v, %v", result.Edits, result.Warnings, err)
	}
	scene.Config.HPC.Edits = []string{config.EditTorch, config.EditSlurm}
	result, err = Make(task(t, "SLURM_PROCID=1"), request.Request{}, scene)
	if err != nil || len(result.Edits) != 2 || result.Edits[1].EnvDefault[0] != "RANK=1" ||
		len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "the host lacks a part of Slurm: no srun") {
		t.Errorf("asked for: %v, %v, %v", result.Edits, result.Warnings, err)
	}
}

// The fabrics that a profile may name in the configuration are the known ones.
func TestFabricNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mpi.toml")
	text := "[mpi.x]\nreplace = ['/l']\nfabric = ['" + strings.Join(mpi.FabricNames(), "', '") + "']\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := config.Check(file); err != nil {
		t.Error(err)
	}
}

// A user can keep the image's MPI.
func TestMPIOwn(t *testing.T) {
	scene := nowhere(t)
	scene.Config.MPI = []config.MPI{{Name: "site", Replace: []string{"/none/libmpi.so.12"}}}
	for value, want := range map[string]string{request.MPIOwn: "the image's own: OCISHIM_MPI", request.MPISite: "", "": ""} {
		p := composed(task(t), scene)
		p.request.MPI = request.Choice{Value: value, By: "OCISHIM_MPI"}
		got := ""
		err := p.mpi()
		if len(p.Edits) > 0 {
			got = p.Edits[0].Rule
		}
		if p.close(); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", value, got, err, want)
		}
	}
}

// Munge's socket comes alone, or with Slurm's commands, but only once. On a host without it there
// is a warning.
func TestMunge(t *testing.T) {
	scene, root := nowhere(t), t.TempDir()
	tree, err := host.Open(root, host.Kernel{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.Close)
	scene.Host = tree
	inside := func(edits ...string) *composition {
		scene.Config.HPC.Edits = edits
		p := composed(task(t), scene)
		t.Cleanup(p.close)
		if err := p.slurmInside(); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := inside(config.EditMunge)
	if len(p.Edits) > 0 || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "munge's socket is not in the container: the host has no munged: no /run/munge/munge.socket.2") {
		t.Errorf("without: %v, %v", p.Edits, p.Warnings)
	}
	socket := root + "/var/lib/munge/munge.socket.2"
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(socket), 0o755), os.WriteFile(socket, nil, 0o600),
		os.Mkdir(root+"/run", 0o755), os.Symlink("/var/lib/munge", root+"/run/munge"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p = inside(config.EditMunge)
	if len(p.Edits) != 1 || len(p.Warnings) > 0 || len(p.Edits[0].Mounts) != 1 {
		t.Fatalf("with: %v, %v", p.Edits, p.Warnings)
	}
	if m := p.Edits[0].Mounts[0]; m.Source != filepath.Dir(socket) || m.Destination != "/run/munge" || !slices.Contains(m.Options, "ro") {
		t.Errorf("got %+v", m)
	}
	// If Slurm is asked for and missing, the socket is still there.
	if p = inside(config.EditSlurm, config.EditMunge); len(p.Edits) != 1 || p.Edits[0].From != "munge" || len(p.Warnings) != 1 {
		t.Errorf("with both: %v, %v", p.Edits, p.Warnings)
	}
}
