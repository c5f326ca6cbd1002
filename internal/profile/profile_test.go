package profile

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/request"
)

func TestChoose(t *testing.T) {
	strict := config.Default()
	strict.Users.May = nil
	isolated := config.Default()
	isolated.Profile = config.ProfileOCI
	for _, test := range []struct {
		name  string
		cfg   *config.Config
		asked string
		step  bool
		want  string // a profile, or a part of the error
	}{
		{"a step", config.Default(), "", true, "hpc"},
		{"an engine", config.Default(), "", false, "oci"},
		{"the site", isolated, "", true, "oci"},
		{"the user", config.Default(), "oci", true, "oci"},
		{"the user, of hpc", isolated, "hpc", true, "hpc"},
		{"anybody outside of Slurm", strict, "hpc", false, "hpc"},
		{"not the user", strict, "oci", true, `OCISHIM_PROFILE "oci": the site does not let users choose the profile (users.may`},
		{"what the site has anyway", strict, "hpc", true, "hpc"},
		{"nonsense", config.Default(), "none", true, `OCISHIM_PROFILE "none": unknown profile: choose hpc or oci`},
	} {
		got, err := Choose(test.cfg, request.Choice{Value: test.asked, By: "OCISHIM_PROFILE"}, test.step)
		switch {
		case err == nil && got.Value != test.want:
			t.Errorf("%s: got %s, want %s", test.name, got.Value, test.want)
		case err != nil && !strings.Contains(err.Error(), test.want):
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if _, err := Choose(strict, request.Choice{Value: "oci"}, true); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("got %v", err)
	}
}

// onHost returns a request for a host with the paths in onNode, and an image with /opt.
func onHost(onNode ...string) Request {
	return Request{
		Config: config.Default(), UID: 1000, GID: 1001, Home: "/home/alice", Workdir: "/scratch/job",
		Exists:  func(p string) bool { return slices.Contains(onNode, p) },
		InImage: func(p string) bool { return p == "/opt" },
	}
}

func spec(mounts ...string) *specs.Spec {
	s := &specs.Spec{Process: &specs.Process{Args: []string{"true"}, Cwd: "/image"}}
	for _, m := range mounts {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: m, Source: "/source", Type: "bind"})
	}
	return s
}

func targets(mounts []specs.Mount) string {
	var all []string
	for _, m := range mounts {
		all = append(all, m.Destination)
	}
	return strings.Join(all, " ")
}

func TestHPCMounts(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Request)
		want   string
	}{
		{"all", func(*Request) {}, "/proc /sys /dev /tmp /home/alice /scratch/job /etc/passwd"},
		{"no home", func(r *Request) { r.Config.HPC.Home = false }, "/proc /sys /dev /tmp /scratch/job /etc/passwd"},
		{"no tmp", func(r *Request) { r.Config.HPC.Tmp = false }, "/proc /sys /dev /home/alice /scratch/job /etc/passwd"},
		{"no workdir", func(r *Request) { r.Config.HPC.Workdir = false }, "/proc /sys /dev /tmp /home/alice /etc/passwd"},
		{"workdir at home", func(r *Request) { r.Workdir = "/home/alice/job" }, "/proc /sys /dev /tmp /home/alice /etc/passwd"},
		{"no files", func(r *Request) { r.Config.HPC.Etc = nil }, "/proc /sys /dev /tmp /home/alice /scratch/job"},
		{"home is the root", func(r *Request) { r.Home = "/" }, "/proc /sys /dev /tmp /scratch/job /etc/passwd"},
		{"home is no path", func(r *Request) { r.Home = "" }, "/proc /sys /dev /tmp /scratch/job /etc/passwd"},
	} {
		r := onHost("/tmp", "/home/alice", "/home/alice/job", "/scratch/job", "/etc/passwd")
		test.change(&r)
		e, err := HPC(spec(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got := targets(e.MountsFirst); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

func TestHPCSiteMounts(t *testing.T) {
	r := onHost("/data")
	r.Config.HPC.Mounts = []config.Mount{
		{Source: "/data", Destination: "/a/b", Options: []string{"ro", config.BindOnly}},
		{Source: "/missing", Destination: "/m", Optional: true},
	}
	e, err := HPC(spec(), r)
	if err != nil {
		t.Fatal(err)
	}
	last := e.MountsFirst[len(e.MountsFirst)-1]
	if last.Destination != "/a/b" || strings.Join(last.Options, ",") != "bind,ro" {
		t.Errorf("got %+v", last)
	}
	r.Config.HPC.Mounts[1].Optional = false
	if _, err := HPC(spec(), r); err == nil || !strings.Contains(err.Error(), "hpc.mounts[1] (default): this host has no /missing") {
		t.Errorf("got %v", err)
	}
}

func TestHPCCwd(t *testing.T) {
	for workdir, want := range map[string]string{
		"/scratch/job":        "/scratch/job", // bound
		"/scratch/x/..//job/": "/scratch/job",
		"/opt":                "/opt", // the image's
		"/nowhere":            "",
		"":                    "",
	} {
		r := onHost("/scratch/job")
		r.Workdir = workdir
		e, err := HPC(spec(), r)
		if err != nil {
			t.Fatal(err)
		}
		if e.Cwd != want {
			t.Errorf("%q: got %q, want %q", workdir, e.Cwd, want)
		}
	}
}

// A batch job's script stays out of the host's /tmp, and nothing else moves.
func TestHPCBatch(t *testing.T) {
	b := &bundle.Bundle{Spec: spec("/tmp/slurm/stdout", "/tmp/slurm/startup", "/tmp/mine", "/proc", "/sys/fs/cgroup")}
	b.Spec.Process.Args = []string{"/tmp/slurm/startup", "a"}
	e, err := HPC(b.Spec, onHost())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(e); err != nil {
		t.Fatal(err)
	}
	if got, want := targets(b.Spec.Mounts), "/proc /sys /dev /tmp/mine /run/ocishim/stdout /run/ocishim/startup"; got != want {
		t.Errorf("mounts %s, want %s", got, want)
	}
	if got := strings.Join(b.Spec.Process.Args, " "); got != "/run/ocishim/startup a" {
		t.Errorf("args %s", got)
	}
	r := onHost()
	r.Config.HPC.Tmp = false
	b.Spec = spec("/tmp/slurm/startup")
	if e, err = HPC(b.Spec, r); err != nil || len(e.Mounts) > 0 {
		t.Errorf("with the image's own /tmp: %v %v", e.Mounts, err)
	}
}
