package plan

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/gpu"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scene"
)

func task(t *testing.T, env ...string) *bundle.Bundle {
	t.Helper()
	return &bundle.Bundle{Rootfs: t.TempDir(), Spec: &specs.Spec{Process: &specs.Process{Args: []string{"true"}, Cwd: "/", Env: env}}}
}

// nowhere returns a host without GPUs, MPI and Slurm, on which a task calls.
func nowhere(t *testing.T) Scene {
	t.Helper()
	empty, err := host.Open(t.TempDir(), host.Kernel{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(empty.Close)
	return Scene{Config: config.Default(), Scene: scene.Scene{Host: empty}, Slurm: true, CanBecome: true, UID: 1, GID: 1}
}

// composed starts a plan, to test single providers.
func composed(b *bundle.Bundle, s Scene) *composition { return &composition{bundle: b, scene: s} }

func TestPlanFollowsTheProfile(t *testing.T) {
	wanted := func(value string) request.Request {
		return request.Request{Profile: request.Choice{Value: value, By: "--profile"}, Workdir: "/work"}
	}
	for name, want := range map[string]int{config.ProfileHPC: 1, config.ProfileOCI: 0} {
		b := task(t)
		result, err := Make(b, wanted(name), nowhere(t))
		if err != nil || len(result.Edits) != want || result.InPlace != (name == config.ProfileHPC) {
			t.Errorf("%s: %d edits, in place %v, %v", name, len(result.Edits), result.InPlace, err)
		}
		if !reflect.DeepEqual(b.Applied, result.Edits) && want > 0 {
			t.Errorf("%s: the bundle has the edits %+v, the plan %+v", name, b.Applied, result.Edits)
		}
		if ignored := strings.Contains(strings.Join(result.Notes, ""), "--cwd has no effect"); ignored != (want == 0) {
			t.Errorf("%s: notes %q", name, result.Notes)
		}
	}
	root := nowhere(t)
	root.Root = true
	if _, err := Make(task(t), wanted(config.ProfileHPC), root); !errors.Is(err, ErrRoot) || err.Error() != "--profile hpc: it is for users, not for root" {
		t.Errorf("root: %v", err)
	}
}

// Only a task's own process can become the application, and for an engine's container only its
// bundle counts.
func TestProfileWithoutChoice(t *testing.T) {
	for name, change := range map[string]func(*Scene){
		"create": func(s *Scene) { s.CanBecome = false },
		"engine": func(s *Scene) { s.Slurm = false },
		"root":   func(s *Scene) { s.Root = true },
	} {
		s := nowhere(t)
		change(&s)
		if result, err := Make(task(t), request.Request{}, s); err != nil || result.InPlace {
			t.Errorf("%s: in place %v, %v", name, result.InPlace, err)
		}
	}
}

// The site's rules apply to a user's settings, for tasks of Slurm.
func TestSettings(t *testing.T) {
	wish := request.Request{Settings: []request.Setting{{Key: "gpu.driver", Value: "/x", By: "OCISHIM_GPU_DRIVER"}}}
	if _, err := Make(task(t), wish, nowhere(t)); !errors.Is(err, config.ErrNotAllowed) {
		t.Errorf("a task's: %v", err)
	}
	engine := nowhere(t)
	engine.Slurm = false
	if _, err := Make(task(t), wish, engine); err != nil {
		t.Errorf("an engine's: %v", err)
	}
	result, err := Make(task(t, "OCISHIM_PROFIL=x"), request.Request{}, nowhere(t))
	if err != nil || len(result.Notes) != 1 || !strings.Contains(result.Notes[0], "unknown variable OCISHIM_PROFIL") {
		t.Errorf("notes %q, %v", result.Notes, err)
	}
}

// A task that asks for no GPU gets none. A task that asks on a host without GPUs gets a message.
func TestGPUsOfHostWithout(t *testing.T) {
	p := composed(task(t, "PATH=/bin"), nowhere(t))
	if err := p.gpus(); err != nil || len(p.Edits)+len(p.Warnings) > 0 {
		t.Errorf("not asked: %v, %v, %v", p.Edits, p.Warnings, err)
	}
	p = composed(task(t, "SLURM_STEP_GPUS=0,1"), nowhere(t))
	defer p.close()
	if err := p.gpus(); err != nil || len(p.Edits) > 0 || !strings.Contains(strings.Join(p.Warnings, "\n"), "no device node of a GPU") {
		t.Errorf("asked: %v, %v, %v", p.Edits, p.Warnings, err)
	}
}

// Every key of the configuration reaches the package that follows it.
func TestSite(t *testing.T) {
	c := config.Default()
	want := gpu.Site{
		Vendors: c.GPU.Vendors, Capabilities: c.GPU.Capabilities, Features: []string{}, Devices: []string{}, Files: []string{}, CDIDirs: c.GPU.CDI.Dirs,
	}
	if got := site(c); !reflect.DeepEqual(got, want) {
		t.Errorf("default: %+v", got)
	}
	c.GPU = config.GPU{
		Vendors: []string{}, Capabilities: []string{"video"}, Features: []string{"gds"}, Isolate: true, Order: config.OrderFile,
		Devices: []string{"/dev/x"}, Files: []string{"/x"}, Firmware: true, Driver: "/run/driver", MPS: "/run/mps",
		CDI: config.CDI{Dirs: []string{"/cdi"}, Repair: true},
	}
	got := site(c)
	for v, i := reflect.ValueOf(got), 0; i < v.NumField(); i++ {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() {
			t.Errorf("nothing sets %s", name)
		}
	}
	if got.Vendors == nil || got.DriverRoot != "/run/driver" || got.MPSDir != "/run/mps" || !got.FileOrder {
		t.Errorf("got %+v", got)
	}
}

// Which containers may ask for CDI devices, and how.
func TestCDINames(t *testing.T) {
	strict := config.Default()
	strict.Users.May = nil
	site := config.Default()
	site.GPU.CDI.Devices = []string{"example.com/nic=0"}
	byUser := config.Default()
	if err := byUser.Override("gpu.cdi.devices", "example.com/nic=1", "OCISHIM_GPU_CDI_DEVICES"); err != nil {
		t.Fatal(err)
	}
	engines := config.Default()
	engines.GPU.Engines = true
	annotated := map[string]string{"cdi.k8s.io/x": "example.com/nic=2"}
	names := []string{"a.b/c=d"}
	for name, tt := range map[string]struct {
		cfg         *config.Config
		engine      bool
		devices     []string
		annotations map[string]string
		env         string
		want        string // the names, or the error
		asked       bool
	}{
		"nobody":                   {cfg: site},
		"the site, for a GPU":      {cfg: site, env: "SLURM_STEP_GPUS=0", want: "example.com/nic=0", asked: true},
		"the user":                 {cfg: byUser, want: "example.com/nic=1", asked: true},
		"the command line":         {cfg: site, devices: names, want: "a.b/c=d example.com/nic=0", asked: true},
		"not the command line":     {cfg: strict, devices: names, want: "--device: the site does not let users decide that: gpu.cdi.devices"},
		"not an annotation":        {cfg: strict, annotations: annotated, want: "annotation cdi.k8s.io/x: the site does not let users"},
		"an annotation":            {cfg: site, annotations: annotated, want: "example.com/nic=0", asked: true},
		"an engine":                {cfg: strict, engine: true, annotations: annotated, env: "NVIDIA_VISIBLE_DEVICES=all"},
		"an engine's command line": {cfg: strict, engine: true, devices: names, want: "a.b/c=d", asked: true},
		"an engine that may ask":   {cfg: engines, engine: true, annotations: annotated, asked: true},
	} {
		b := task(t)
		b.Spec.Process.Env, b.Spec.Annotations = []string{tt.env, "SLURM_PROCID=0"}, tt.annotations
		p := composed(b, Scene{Config: tt.cfg, Slurm: !tt.engine})
		if err := p.request.Set("devices", tt.devices, "--device"); err != nil {
			t.Fatal(err)
		}
		r, asked, err := p.gpuRequest()
		got := strings.Join(r.CDI, " ")
		if err != nil {
			got = err.Error()
		}
		if asked != tt.asked || !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, asked, tt.want, tt.asked)
		}
		if tt.engine && !tt.cfg.GPU.Engines && (r.Env != nil || r.Annotations != nil) {
			t.Errorf("%s: the container itself asks", name)
		}
	}
}
