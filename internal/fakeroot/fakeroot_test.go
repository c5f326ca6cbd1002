package fakeroot

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scene"
)

// asked returns a request of a user for an image with these directories.
func asked(t *testing.T, value string, env []string, directories ...string) Request {
	t.Helper()
	root := t.TempDir()
	for _, dir := range directories {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := host.Open(root, host.Kernel{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.Close)
	return Request{
		Scene:  scene.Scene{Image: tree, Env: env, Arch: "amd64"},
		Choice: request.Choice{Value: value, By: "--root"}, UID: 1000, GID: 100,
		Spec: &specs.Spec{Process: &specs.Process{Args: []string{"sh"}, Cwd: "/", Env: env}, Linux: &specs.Linux{}},
	}
}

func TestRootIsTheCaller(t *testing.T) {
	r := asked(t, "true", []string{"HOME=/home/alice", "USER=alice", "PATH=/opt/bin:/usr/bin"}, "/etc/apt")
	r.Home = "/home/alice"
	r.Spec.Mounts = []specs.Mount{
		bundle.Bind("/etc/passwd", "/etc/passwd", "ro"), bundle.Bind("/etc/hosts", "/etc/hosts", "ro"), bundle.Bind("/mine", "/etc/group"),
	}
	proposed, err := Edits(r)
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle.Bundle{Rootfs: t.TempDir(), Spec: r.Spec}
	if err := b.Apply(proposed.Edits...); err != nil {
		t.Fatal(err)
	}
	if m := r.Spec.Linux.UIDMappings; len(m) != 1 || m[0] != (specs.LinuxIDMapping{HostID: 1000, Size: 1}) {
		t.Errorf("uid mappings %v", m)
	}
	if m := r.Spec.Linux.GIDMappings; len(m) != 1 || m[0] != (specs.LinuxIDMapping{HostID: 100, Size: 1}) {
		t.Errorf("gid mappings %v", m)
	}
	if u := r.Spec.Process.User; u.UID != 0 || u.GID != 0 || !r.Spec.Process.NoNewPrivileges {
		t.Errorf("user %v, no_new_privs %v", u, r.Spec.Process.NoNewPrivileges)
	}
	env := "\n" + strings.Join(r.Spec.Process.Env, "\n") + "\n"
	for _, want := range []string{
		"HOME=/root", "USER=root", "LOGNAME=root", "APT_CONFIG=/run/ocishim/apt.conf",
		"PATH=/opt/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin",
	} {
		if !strings.Contains(env, "\n"+want+"\n") {
			t.Errorf("no %s in %s", want, env)
		}
	}
	var mounts []string
	for _, m := range r.Spec.Mounts {
		mounts = append(mounts, m.Source+":"+m.Destination)
	}
	if got := strings.Join(mounts, " "); got != "/etc/hosts:/etc/hosts /mine:/etc/group /home/alice:/root" {
		t.Errorf("mounts %s", got)
	}
	if len(b.Files) != 1 || string(b.Files[0].Data) != "APT::Sandbox::User \"root\";\n" {
		t.Errorf("files %+v", b.Files)
	}
}

// An image without apt gets nothing for it, and a user's own configuration is left alone.
func TestApt(t *testing.T) {
	for name, r := range map[string]Request{
		"no apt": asked(t, "true", nil, "/etc"),
		"theirs": asked(t, "true", []string{"APT_CONFIG=/mine"}, "/etc/apt"),
	} {
		proposed, err := Edits(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range proposed.Edits {
			if len(e.Files) > 0 || strings.Contains(strings.Join(e.Env, " "), "APT_CONFIG") {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if said := strings.Contains(strings.Join(proposed.Warnings, ""), "APT::Sandbox::User"); said != (name == "theirs") {
			t.Errorf("%s: warnings %q", name, proposed.Warnings)
		}
	}
}

// With a layer of its own the container's file is among apt's, whatever the environment says.
func TestAptWithLayer(t *testing.T) {
	for dirs, want := range map[string]string{"/etc/apt/apt.conf.d": aptPart, "/etc/apt": aptConfig} {
		r := asked(t, "true", nil, dirs)
		r.Layer = true
		proposed, err := Edits(r)
		if err != nil {
			t.Fatal(err)
		}
		e := proposed.Edits[len(proposed.Edits)-1]
		if len(e.Files) != 1 || e.Files[0].Path != want || (len(e.Env) == 0) != (want == aptPart) {
			t.Errorf("%s: %+v", dirs, e)
		}
	}
}

func TestStepsWithMPI(t *testing.T) {
	for _, test := range []struct {
		value, env string
		refused    bool
	}{
		{"true", "SLURM_STEP_NUM_TASKS=4 PMIX_NAMESPACE=x", true},
		{"true", "SLURM_NTASKS=2 PMI_FD=9", true},
		{"force", "SLURM_STEP_NUM_TASKS=4 PMIX_NAMESPACE=x", false},
		{"true", "SLURM_STEP_NUM_TASKS=1 PMIX_NAMESPACE=x", false},
		{"true", "SLURM_STEP_NUM_TASKS=4", false},
		{"true", "PMIX_NAMESPACE=x", false},
	} {
		_, err := Edits(asked(t, test.value, strings.Fields(test.env)))
		if errors.Is(err, ErrBreaksMPI) != test.refused || err != nil && !test.refused {
			t.Errorf("%s, %s: %v", test.value, test.env, err)
		}
		if test.refused && !strings.HasPrefix(err.Error(), "--root: ") {
			t.Errorf("the error does not name its origin: %v", err)
		}
	}
}
