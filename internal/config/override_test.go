package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// What users may decide takes the place of the site's value, and says by what.
func TestOverride(t *testing.T) {
	c := Default()
	err := c.Override(
		map[string]string{"org.ocishim.gpu.isolate": "true", "org.ocishim.gpu.capabilities": "video", "org.ocishim.profile": "oci", "com.example.gpu.order": "x"},
		[]string{"PATH=/bin", "OCISHIM_GPU_CAPABILITIES=compute, graphics,", "OCISHIM_TEST=1", "OCISHIM_EXPLAIN=1", "OCISHIM_GPU_CDI_DEVICES=", "GPU_ISOLATE=x"},
	)
	if err != nil {
		t.Fatal(err)
	}
	if !c.GPU.Isolate || !reflect.DeepEqual(c.GPU.Capabilities, []string{"compute", "graphics"}) || len(c.GPU.CDI.Devices) > 0 {
		t.Errorf("got %+v", c.GPU)
	}
	for key, by := range map[string]string{
		"gpu.isolate": "annotation org.ocishim.gpu.isolate", "gpu.capabilities": "OCISHIM_GPU_CAPABILITIES", "gpu.order": "default",
	} {
		if got := c.Origin(key).String(); got != by {
			t.Errorf("%s is by %s, not by %s", key, got, by)
		}
	}
}

// What they may not is an error that names the key, as is what does not exist.
func TestOverrideRefused(t *testing.T) {
	strict := Default()
	if err := strict.merge("site.toml", []byte("users.may = ['gpu.order']")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c          *Config
		name, want string
	}{
		{strict, "OCISHIM_GPU_ISOLATE=true", "OCISHIM_GPU_ISOLATE: the site does not let users decide that: gpu.isolate is not in users.may (site.toml:1)"},
		{strict, "org.ocishim.gpu.isolate=true", "annotation org.ocishim.gpu.isolate: the site does not let users decide that: gpu.isolate is not in users.may (site.toml:1)"},
		{strict, "OCISHIM_GPU_ORDER=minor", `OCISHIM_GPU_ORDER: expected "pci" or "file", not "minor"`},
		{strict, "OCISHIM_GPU_ODER=file", "OCISHIM_GPU_ODER: unknown key; did you mean gpu.order?"},
		{Default(), "OCISHIM_GPU_DRIVER=/tmp", "OCISHIM_GPU_DRIVER: the site does not let users decide that: gpu.driver is not in users.may (default)"},
		{Default(), "OCISHIM_GPU_CDI_DIRS=/tmp", "OCISHIM_GPU_CDI_DIRS: the site does not let users decide that: gpu.cdi.dirs is not in users.may (default)"},
		{Default(), "OCISHIM_GPU_ISOLATE=1", `OCISHIM_GPU_ISOLATE: expected true or false, not "1"`},
		{Default(), "org.ocishim.gpu.capabilities=compute,x\x1b", `annotation org.ocishim.gpu.capabilities: expected "compute", "utility", "video", "graphics", "display", "ngx" or "all", not "x\x1b"`},
	} {
		key, value, _ := strings.Cut(tt.name, "=")
		annotations, env := map[string]string{key: value}, []string(nil)
		if strings.HasPrefix(key, "OCISHIM_") {
			annotations, env = nil, []string{tt.name}
		}
		err := tt.c.Override(annotations, env)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\n%v\nwant\n%s", tt.name, err, tt.want)
		}
		if denied := strings.Contains(tt.want, "users.may"); errors.Is(err, ErrNotAllowed) != denied {
			t.Errorf("%s: ErrNotAllowed is %v", tt.name, !denied)
		}
	}
}

// A value that users decide for is one that the site could have written.
func TestOverrideAsPrinted(t *testing.T) {
	c := Default()
	if err := c.Override(nil, []string{"OCISHIM_GPU_FEATURES=gds,gdrcopy,gds"}); err != nil {
		t.Fatal(err)
	}
	if text := c.TOML(); !strings.Contains(text, `features = ["gds", "gdrcopy"]  # OCISHIM_GPU_FEATURES`) {
		t.Errorf("got\n%s", text)
	}
	if err := Default().merge("printed", []byte(c.TOML())); err != nil {
		t.Error(err)
	}
}
