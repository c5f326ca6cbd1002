package bundle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

func TestBindOverRoot(t *testing.T) {
	t.Parallel()
	bind := func(source string, options ...string) specs.Mount {
		return specs.Mount{Destination: "/", Type: "bind", Source: source, Options: append([]string{"rbind"}, options...)}
	}
	proc := specs.Mount{Destination: "/proc", Type: "proc", Source: "proc"}
	for name, c := range map[string]struct {
		mounts   []specs.Mount
		rootfs   string
		left     int
		readonly bool
		err      string
	}{
		"first":           {[]specs.Mount{bind("vol"), proc}, "vol", 1, false, ""},
		"hides":           {[]specs.Mount{proc, bind("vol", "ro"), proc}, "vol", 1, true, ""},
		"the last counts": {[]specs.Mount{bind("rootfs"), bind("vol", "rw"), proc}, "vol", 1, false, ""},
		"none":            {[]specs.Mount{proc}, "rootfs", 1, false, ""},
		"dots":            {[]specs.Mount{{Destination: "/..", Source: "vol", Options: []string{"bind", "rprivate"}}}, "vol", 0, false, ""},
		"the host's root": {[]specs.Mount{bind("/")}, "", 0, false, "own root"},
		"nothing there":   {[]specs.Mount{bind("none")}, "", 0, false, "mounts[0].source"},
		"a file":          {[]specs.Mount{bind("config.json")}, "", 0, false, "not a directory"},
		"nosuid":          {[]specs.Mount{bind("vol", "nosuid")}, "", 0, false, "mounts[0].options[1]"},
		"idmapped":        {[]specs.Mount{{Destination: "/", Type: "bind", Source: "vol", UIDMappings: []specs.LinuxIDMapping{{Size: 1}}}}, "", 0, false, "mounts[0].uidMappings"},
		"no source":       {[]specs.Mount{{Destination: "/", Type: "bind"}}, "", 0, false, "mounts[0].source: missing"},
		"a tmpfs":         {[]specs.Mount{{Destination: "/", Type: "tmpfs"}}, "", 0, false, "only a bind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for _, made := range []string{"rootfs", "vol"} {
				if err := os.Mkdir(filepath.Join(dir, made), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			data, err := json.Marshal(specs.Spec{
				Version: "1.0.2", Root: &specs.Root{Path: "rootfs"}, Process: &specs.Process{Cwd: "/", Args: []string{"x"}}, Mounts: c.mounts,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644); err != nil {
				t.Fatal(err)
			}
			b, err := bundle.Load(dir)
			if err == nil {
				err = b.Validate()
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if b.Rootfs != filepath.Join(dir, c.rootfs) || len(b.Spec.Mounts) != c.left || b.Spec.Root.Readonly != c.readonly {
				t.Errorf("%s, %v, readonly %v", b.Rootfs, b.Spec.Mounts, b.Spec.Root.Readonly)
			}
			again, err := bundle.LoadPlain(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(again.Spec.Mounts) != len(c.mounts) || len(again.Applied) != 0 {
				t.Errorf("as it was written: %v, edits %v", again.Spec.Mounts, again.Applied)
			}
			if err := again.Apply(b.Applied...); err != nil {
				t.Fatal(err)
			}
			got, gotErr := json.Marshal(again.Spec)
			want, wantErr := json.Marshal(b.Spec)
			if err := errors.Join(gotErr, wantErr); err != nil || again.Rootfs != b.Rootfs || !bytes.Equal(got, want) {
				t.Errorf("the recorded edits make %s of it, want %s (%v)", got, want, err)
			}
		})
	}
}
