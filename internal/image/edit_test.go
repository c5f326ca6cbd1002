package image

import (
	"slices"
	"testing"
)

func TestEdit(t *testing.T) {
	r := &Record{
		Digest: "sha256:00", Reference: "docker://localhost/demo:1", Platform: Platform{OS: "linux", Architecture: "amd64"},
		Config: Config{
			Env: []string{
				"PATH=/opt/bin:/bin", "A=1", "SLURM_STEP_GPUS=7", "OCISHIM_GPU_ISOLATE=true", "HOME=/root", "HOMEPAGE=x", "PMI_RANK=3", "LD_LIBRARY_PATH=/opt/lib",
				"NVIDIA_VISIBLE_DEVICES=all", "wrong", "=x",
			},
			WorkingDir: "srv", StopSignal: "SIGINT",
			Labels: map[string]string{"org.opencontainers.image.title": "demo", "org.ocishim.profile": "oci", "cdi.k8s.io/x": "nvidia.com/gpu=all"},
		},
	}
	e := r.Edit("/store/root")
	if want := []string{"PATH=/opt/bin:/bin", "A=1", "HOMEPAGE=x", "LD_LIBRARY_PATH=/opt/lib", "NVIDIA_VISIBLE_DEVICES=all"}; !slices.Equal(e.Env, want) {
		t.Errorf("variables %q, want %q", e.Env, want)
	}
	if e.Cwd != "/srv" || e.RootPath != "/store/root" || !slices.Contains(e.EnvUnset, "LD_PRELOAD") {
		t.Errorf("got %+v", e)
	}
	for name := range e.Annotations {
		if name == "org.ocishim.profile" || name == "cdi.k8s.io/x" {
			t.Errorf("the image sets the annotation %s", name)
		}
	}
	if e.Annotations["org.opencontainers.image.title"] != "demo" || e.Annotations["org.opencontainers.image.stopSignal"] != "SIGINT" {
		t.Errorf("annotations %v", e.Annotations)
	}
	r.Config = Config{}
	if e := r.Edit("/r"); e.Cwd != "/" || !slices.Equal(e.Env, []string{defaultPath}) {
		t.Errorf("of an image that says nothing: %+v", e)
	}
}

func TestCommand(t *testing.T) {
	c := Config{Entrypoint: []string{"/entry", "-x"}, Cmd: []string{"serve"}}
	for _, test := range []struct {
		given      []string
		entrypoint bool
		want       []string
	}{
		{nil, false, []string{"/entry", "-x", "serve"}},
		{nil, true, []string{"/entry", "-x", "serve"}},
		{[]string{"ls", "-l"}, false, []string{"ls", "-l"}},
		{[]string{"ls", "-l"}, true, []string{"/entry", "-x", "ls", "-l"}},
	} {
		if got := c.Command(test.given, test.entrypoint); !slices.Equal(got, test.want) {
			t.Errorf("%q, %v: %q, want %q", test.given, test.entrypoint, got, test.want)
		}
	}
	if got := (Config{}).Command(nil, false); len(got) != 0 {
		t.Errorf("nothing said: %q", got)
	}
}
