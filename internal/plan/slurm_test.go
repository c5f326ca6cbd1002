package plan

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/mpi"
)

// What the site asks for and the node does not have is a warning, and no reason to stop.
func TestOptionalOfNodeWithoutSlurm(t *testing.T) {
	cfg := config.Default()
	edits, warnings, err := Optional(task(t), cfg, t.TempDir(), "")
	if err != nil || len(edits)+len(warnings) > 0 {
		t.Errorf("not asked for: %v, %v, %v", edits, warnings, err)
	}
	cfg.HPC.Edits = []string{config.EditTorch, config.EditSlurm}
	edits, warnings, err = Optional(task(t, "SLURM_PROCID=1"), cfg, t.TempDir(), "")
	if err != nil || len(edits) != 1 || edits[0].EnvDefault[0] != "RANK=1" || len(warnings) != 1 || !strings.Contains(warnings[0], "this node has not all of Slurm: no srun") {
		t.Errorf("asked for: %v, %v, %v", edits, warnings, err)
	}
}

// The fabrics that the configuration lets a profile name are those that are known.
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

// A user can keep the image's MPI, by the bundle or by the job.
func TestMPIOwn(t *testing.T) {
	cfg := config.Default()
	cfg.MPI = []config.MPI{{Name: "site", Replace: []string{"/none/libmpi.so.12"}}}
	for env, want := range map[string]string{
		"OCISHIM_MPI=own": "the image's own: OCISHIM_MPI", "A=b": "the image's own: annotation org.ocishim.mpi", "OCISHIM_MPI=site": "", "OCISHIM_MPI=x": "error",
		"OCISHIM_MPI=": "the image's own: annotation org.ocishim.mpi",
	} {
		b := task(t, env)
		b.Spec.Annotations = map[string]string{"org.ocishim.mpi": "own"}
		result, err := MPI(b, cfg, t.TempDir(), "")
		got := ""
		if len(result.Edits) > 0 {
			got = result.Edits[0].Rule
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: got %q, %v, want %q", env, got, err, want)
		}
	}
}

// A wrong word is refused of whoever writes it, also where the other one is right.
func TestCheckMPI(t *testing.T) {
	for _, test := range []struct{ annotation, env, want string }{
		{"", "A=b", ""},
		{"own", "OCISHIM_MPI=site", ""},
		{"site", "OCISHIM_MPI=own", ""},
		{"onw", "OCISHIM_MPI=own", `annotation org.ocishim.mpi "onw": choose own or site`},
		{"own", "OCISHIM_MPI=sites", `OCISHIM_MPI "sites": choose own or site`},
	} {
		b := task(t, test.env)
		b.Spec.Annotations = map[string]string{"org.ocishim.mpi": test.annotation}
		got := ""
		if err := CheckMPI(b); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.annotation, test.env, got, test.want)
		}
	}
}

// Munge's socket comes by itself, or with Slurm's commands, once; a node without says so.
func TestMunge(t *testing.T) {
	root := t.TempDir()
	cfg := config.Default()
	cfg.HPC.Edits = []string{config.EditMunge}
	edits, warnings, err := Optional(task(t), cfg, root, "")
	if err != nil || len(edits) > 0 || len(warnings) != 1 || !strings.Contains(warnings[0], "munge's socket is not in the container: this node has none: no /run/munge/munge.socket.2") {
		t.Errorf("without: %v, %v, %v", edits, warnings, err)
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
	b := task(t)
	edits, warnings, err = Optional(b, cfg, root, "")
	if err != nil || len(edits) != 1 || len(warnings) > 0 || len(edits[0].Mounts) != 1 {
		t.Fatalf("with: %v, %v, %v", edits, warnings, err)
	}
	if m := edits[0].Mounts[0]; m.Source != filepath.Dir(socket) || m.Destination != "/run/munge" || !slices.Contains(m.Options, "ro") {
		t.Errorf("got %+v", m)
	}
	if err := b.Apply(edits...); err != nil {
		t.Error(err)
	}
	// Where Slurm is asked for and is not there, the socket is all the same.
	cfg.HPC.Edits = []string{config.EditSlurm, config.EditMunge}
	if edits, warnings, err = Optional(task(t), cfg, root, ""); err != nil || len(edits) != 1 || edits[0].From != "munge" || len(warnings) != 1 {
		t.Errorf("with both: %v, %v, %v", edits, warnings, err)
	}
}
