package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDecide(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	filler := strings.Repeat("\x00", 600)
	file("bundle/config.json", "{}")
	file("bundle/oci-layout", "{}")
	file("layout/oci-layout", "{}")
	file("layout/bin/x", "")
	link("/usr/bin", "rootfs/bin")
	link(filepath.Join(dir, "text"), "escape/config.json")
	file("nothing/readme", "")
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	file("env.toml", "hsqs")
	file("sqsh", "hsqs"+filler)
	file("sif", "#!/usr/bin/env run-singularity\n\x00SIF_MAGIC"+filler)
	file("tar", filler[:257]+"ustar\x0000"+filler)
	file("gz", "\x1f\x8b\x08")
	file("zst", "\x28\xb5\x2f\xfd"+filler)
	file("text", "hello")
	file("empty", "")
	for name, want := range map[string]Kind{
		"bundle": KindBundle, "layout": KindLayout, "rootfs": KindRootFS, "env.toml": KindEDF,
		"sqsh": KindSquashfs, "sif": KindSIF, "tar": KindArchive, "gz": KindArchive, "zst": KindArchive,
		"escape": "", "nothing": "", "fifo": "", "text": "", "empty": "", "absent": "", "sqsh/x": "",
	} {
		r := Reference{Kind: KindPath, Path: filepath.Join(dir, name)}
		got, err := r.Decide()
		if want == "" {
			if err == nil || !errors.Is(err, ErrReference) || name != "absent" && name != "sqsh/x" && !errors.Is(err, ErrNoImage) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		} else if err != nil || got.Kind != want || got.Path != r.Path {
			t.Errorf("%s: %+v, %v; want %s", name, got, err, want)
		}
	}
	// A kind that the reference names is not checked.
	if r, err := (Reference{Kind: KindSIF, Path: filepath.Join(dir, "sqsh")}).Decide(); err != nil || r.Kind != KindSIF {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestParsePlatform(t *testing.T) {
	for s, want := range map[string]string{
		"linux/amd64": "linux/amd64", "x86_64": "linux/amd64", "linux/aarch64/v8": "linux/arm64",
		"linux/arm/v7": "linux/arm/v7", "armhf": "linux/arm/v7", "linux/amd64/v3": "linux/amd64/v3",
		"": "", "linux/": "", "a/b/c/d": "", "linux/a b": "",
	} {
		p, err := ParsePlatform(s)
		if (err != nil) != (want == "") || err == nil && p.String() != want {
			t.Errorf("%q: %s, %v; want %q", s, p, err, want)
		}
	}
}
