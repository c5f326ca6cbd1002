package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// A user's value replaces the site's, and its origin says how it was set.
func TestOverride(t *testing.T) {
	c := Default()
	for _, s := range [][3]string{
		{"gpu.capabilities", "video", "annotation org.ocishim.gpu.capabilities"},
		{"gpu.isolate", "true", "annotation org.ocishim.gpu.isolate"},
		{"gpu.capabilities", "compute, graphics,", "OCISHIM_GPU_CAPABILITIES"},
		{"gpu.cdi.devices", "", "OCISHIM_GPU_CDI_DEVICES"},
	} {
		if err := c.Override(s[0], s[1], s[2]); err != nil {
			t.Fatal(err)
		}
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

// An error names a key that users may not set, or that does not exist.
func TestOverrideRefused(t *testing.T) {
	strict := Default()
	if err := strict.merge("site.toml", []byte("users.may = ['gpu.order']")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		c                *Config
		key, value, want string
	}{
		{strict, "gpu.isolate", "true", "the site does not let users decide that: gpu.isolate is not in users.may (site.toml:1)"},
		{strict, "gpu.order", "minor", `expected "pci" or "file", not "minor"`},
		{strict, "gpu.oder", "file", "unknown key; did you mean gpu.order?"},
		{strict, "hpc.home", "true", "the site does not let users decide that: hpc.home is not in users.may (site.toml:1)"},
		{Default(), "gpu.driver", "/tmp", "the site does not let users decide that: gpu.driver is not in users.may (default)"},
		{Default(), "gpu.cdi.dirs", "/tmp", "the site does not let users decide that: gpu.cdi.dirs is not in users.may (default)"},
		{Default(), "gpu.isolate", "1", `expected true or false, not "1"`},
		{Default(), "gpu.capabilities", "compute,x\x1b", `expected "compute", "utility", "video", "graphics", "display", "ngx" or "all", not "x\x1b"`},
	} {
		err := tt.c.Override(tt.key, tt.value, "OCISHIM_X")
		if want := "OCISHIM_X: " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s=%s:\n%v\nwant\n%s", tt.key, tt.value, err, want)
		}
		if denied := strings.Contains(tt.want, "users.may"); errors.Is(err, ErrNotAllowed) != denied {
			t.Errorf("%s: ErrNotAllowed is %v", tt.key, !denied)
		}
	}
}

// The site could have written a user's value.
func TestOverrideAsPrinted(t *testing.T) {
	c := Default()
	if err := c.Override("gpu.features", "gds,gdrcopy,gds", "OCISHIM_GPU_FEATURES"); err != nil {
		t.Fatal(err)
	}
	if text := c.TOML(); !strings.Contains(text, `features = ["gds", "gdrcopy"]  # OCISHIM_GPU_FEATURES`) {
		t.Errorf("got\n%s", text)
	}
	if err := Default().merge("printed", []byte(c.TOML())); err != nil {
		t.Error(err)
	}
}
