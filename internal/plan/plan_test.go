package plan

import (
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/gpu"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/profile"
)

func task(t *testing.T, env ...string) *bundle.Bundle {
	t.Helper()
	return &bundle.Bundle{Rootfs: t.TempDir(), Spec: &specs.Spec{Process: &specs.Process{Args: []string{"true"}, Cwd: "/", Env: env}}}
}

func TestEditsFollowTheProfile(t *testing.T) {
	for name, want := range map[string]int{config.ProfileHPC: 1, config.ProfileOCI: 0} {
		edits, err := Edits(task(t), profile.Request{
			Config: config.Default(), Choice: profile.Choice{Name: name},
			Exists: func(string) bool { return false }, InImage: func(string) bool { return false },
		})
		if err != nil || len(edits) != want {
			t.Errorf("%s: %d edits, %v", name, len(edits), err)
		}
	}
}

// nowhere is a node without GPUs.
func nowhere(t *testing.T) GPURequest {
	t.Helper()
	return GPURequest{Config: config.Default(), Root: t.TempDir(), Slurm: true}
}

// Who asks for no GPU gets none, and who asks on a node without is told so.
func TestGPUsOfNodeWithout(t *testing.T) {
	edits, warnings, err := GPUs(task(t, "PATH=/bin"), nowhere(t))
	if err != nil || len(edits)+len(warnings) > 0 {
		t.Errorf("not asked: %v, %v, %v", edits, warnings, err)
	}
	edits, warnings, err = GPUs(task(t, "SLURM_STEP_GPUS=0,1"), nowhere(t))
	if err != nil || len(edits) > 0 || !strings.Contains(strings.Join(warnings, "\n"), "no device of a GPU is to be found") {
		t.Errorf("asked: %v, %v, %v", edits, warnings, err)
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

// Who may ask for CDI devices, and how.
func TestCDINames(t *testing.T) {
	strict := config.Default()
	strict.Users.May = nil
	site := config.Default()
	site.GPU.CDI.Devices = []string{"example.com/nic=0"}
	byUser := config.Default()
	if err := byUser.Override(nil, []string{"OCISHIM_GPU_CDI_DEVICES=example.com/nic=1"}); err != nil {
		t.Fatal(err)
	}
	engines := config.Default()
	engines.GPU.Engines = true
	annotated := map[string]string{"cdi.k8s.io/x": "example.com/nic=2"}
	for name, tt := range map[string]struct {
		r           GPURequest
		annotations map[string]string
		env         string
		want        string // the names, or the error
		asked       bool
	}{
		"nobody":                   {r: GPURequest{Config: site, Slurm: true}},
		"the site, for a GPU":      {r: GPURequest{Config: site, Slurm: true}, env: "SLURM_STEP_GPUS=0", want: "example.com/nic=0", asked: true},
		"the user":                 {r: GPURequest{Config: byUser, Slurm: true}, want: "example.com/nic=1", asked: true},
		"the command line":         {r: GPURequest{Config: site, Slurm: true, Devices: []string{"a.b/c=d"}}, want: "a.b/c=d example.com/nic=0", asked: true},
		"not the command line":     {r: GPURequest{Config: strict, Slurm: true, Devices: []string{"a.b/c=d"}}, want: "--device: the site does not let users decide that: gpu.cdi.devices"},
		"not an annotation":        {r: GPURequest{Config: strict, Slurm: true}, annotations: annotated, want: "annotation cdi.k8s.io/x: the site does not let users"},
		"an annotation":            {r: GPURequest{Config: site, Slurm: true}, annotations: annotated, want: "example.com/nic=0", asked: true},
		"an engine":                {r: GPURequest{Config: strict}, annotations: annotated, env: "NVIDIA_VISIBLE_DEVICES=all"},
		"an engine's command line": {r: GPURequest{Config: strict, Devices: []string{"a.b/c=d"}}, want: "a.b/c=d", asked: true},
		"an engine that may ask":   {r: GPURequest{Config: engines}, annotations: annotated, asked: true},
	} {
		b := task(t)
		b.Spec.Process.Env, b.Spec.Annotations = []string{tt.env, "SLURM_PROCID=0"}, tt.annotations
		request, asked, err := tt.r.request(b)
		got := strings.Join(request.CDI, " ")
		if err != nil {
			got = err.Error()
		}
		if asked != tt.asked || !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, asked, tt.want, tt.asked)
		}
		if engine := !tt.r.Slurm && !tt.r.Config.GPU.Engines; engine && (request.Env != nil || request.Annotations != nil) {
			t.Errorf("%s: the container itself asks", name)
		}
	}
}
