package gpu

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/host/fakenode"
	"github.com/ocishim/ocishim/internal/scene"
)

const version = "550.54.15"

// eight is a host with eight GPUs, like DGX and HGX boards.
func eight(t testing.TB) *fakenode.Node {
	n := fakenode.New(t)
	n.NVIDIA(fakenode.NVIDIA{GPUs: 8, Driver: version, LibDir: "/usr/lib/x86_64-linux-gnu", Control: 6})
	return n
}

// ask returns the request of a Slurm task on that host, in an image with glibc 2.36.
func ask(t testing.TB, n *fakenode.Node, env ...string) Request {
	return Request{
		Scene: scene.Scene{
			Host: n.Tree(), Image: fakenode.Image(t, "2.36").Tree(), Arch: "amd64", Env: env,
			Mounts: []specs.Mount{{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"}},
		},
		Slurm: true,
	}
}

// An outcome is a result in a form that tests can query.
type outcome struct {
	scene.Proposal
	t       testing.TB
	devices []string // without /dev/
	rules   map[string]string
	env     map[string]string
	prepend []string
	mounts  map[string]string // sources by destination
	links   map[string]string
	files   map[string]string
}

func mustGive(t testing.TB, r Request) outcome {
	t.Helper()
	result, err := Edits(r)
	if err != nil {
		t.Fatal(err)
	}
	return look(t, result)
}

func look(t testing.TB, result scene.Proposal) outcome {
	o := outcome{
		Proposal: result, t: t, rules: map[string]string{}, env: map[string]string{}, mounts: map[string]string{},
		links: map[string]string{}, files: map[string]string{},
	}
	for _, e := range result.Edits {
		o.rules[e.From] = e.Rule
		for _, d := range e.Devices {
			o.devices = append(o.devices, strings.TrimPrefix(d.Path, "/dev/"))
		}
		for _, entry := range slices.Concat(e.EnvDefault, e.Env) {
			name, value, _ := strings.Cut(entry, "=")
			o.env[name] = value
		}
		o.prepend = append(o.prepend, e.EnvPrepend...)
		for _, m := range e.Mounts {
			o.mounts[m.Destination] = m.Source
		}
		for _, l := range e.Links {
			o.links[l.Path] = l.Target
		}
		for _, f := range e.Files {
			o.files[f.Path] = string(f.Data)
		}
	}
	return o
}

// gpus returns the numbered device nodes.
func (o outcome) gpus() string {
	var gpus []string
	for _, d := range o.devices {
		if minor, ok := strings.CutPrefix(d, "nvidia"); ok && strings.Trim(minor, "0123456789") == "" {
			gpus = append(gpus, minor)
		}
	}
	return strings.Join(gpus, " ")
}

func (o outcome) nothing() bool { return len(o.Edits) == 0 && len(o.Warnings) == 0 }

// mounted returns the names of the mounts below a directory.
func (o outcome) mounted(dir string) []string {
	var names []string
	for destination := range o.mounts {
		if inside, ok := strings.CutPrefix(destination, dir+"/"); ok {
			names = append(names, inside)
		}
	}
	return sorted(names)
}

// refused returns the error of a request that must fail.
func refused(t testing.TB, r Request) string {
	t.Helper()
	result, err := Edits(r)
	if err == nil {
		t.Fatalf("it was not refused: %+v", look(t, result).devices)
	}
	return err.Error()
}

func wants(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func says(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}

// Every edit can be applied to a container's configuration.
func TestEditsApply(t *testing.T) {
	n := eight(t)
	r := ask(t, n, "SLURM_STEP_GPUS=0,1", "CUDA_VISIBLE_DEVICES=0,1", "NVIDIA_DRIVER_CAPABILITIES=all", "PATH=/bin")
	o := mustGive(t, r)
	b := &bundle.Bundle{Spec: &specs.Spec{
		Version: "1.3.0", Root: &specs.Root{Path: "/"},
		Process: &specs.Process{Args: []string{"true"}, Cwd: "/", Env: r.Env},
	}}
	if err := b.Apply(o.Edits...); err != nil {
		t.Fatal(err)
	}
	if err := b.Validate(); err != nil {
		t.Error(err)
	}
	if len(b.Spec.Mounts) < 40 || len(b.Spec.Linux.Devices) < 6 || len(b.Links) < 30 || len(b.Files) != 3 {
		t.Errorf("%d mounts, %d devices, %d links, %d files", len(b.Spec.Mounts), len(b.Spec.Linux.Devices), len(b.Links), len(b.Files))
	}
	seen := map[string]bool{}
	for _, m := range b.Spec.Mounts {
		if seen[m.Destination] {
			t.Errorf("two mounts at %s", m.Destination)
		}
		seen[m.Destination] = true
		if !filepath.IsAbs(m.Source) || !strings.HasPrefix(m.Source, n.Root) {
			t.Errorf("%s is from %s", m.Destination, m.Source)
		}
	}
	for _, rule := range b.Spec.Linux.Resources.Devices {
		if !rule.Allow || rule.Access != "rw" {
			t.Errorf("rule %+v", rule)
		}
	}
}

// The same request gives the same edits, in the same order.
func TestEditsAreStable(t *testing.T) {
	r := ask(t, eight(t), "SLURM_STEP_GPUS=0,1", "NVIDIA_DRIVER_CAPABILITIES=all")
	first := mustGive(t, r)
	for range 5 {
		again := mustGive(t, r)
		if !slices.EqualFunc(first.Edits, again.Edits, func(a, b bundle.Edit) bool {
			return a.From == b.From && slices.EqualFunc(a.Mounts, b.Mounts, func(x, y specs.Mount) bool { return x.Destination == y.Destination })
		}) {
			t.Fatal("two calls differ")
		}
	}
}

func TestNaturalOrder(t *testing.T) {
	got := sorted([]string{"card10", "card2", "renderD129", "card1", "a", "", "renderD1x"})
	want := []string{"", "a", "card1", "card2", "card10", "renderD1x", "renderD129"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// private is where the tests' images get the driver's files.
const private = "/dev/.ocishim/gpu"

func names(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
