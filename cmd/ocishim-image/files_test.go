package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/export"
	"github.com/ocishim/ocishim/internal/pace"
)

// execute runs a program that the test needs. Without it the test is skipped, except in CI.
func execute(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ctx, cancel := pace.Context(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// newTree makes a root file system with every kind of file that can be made without root.
func newTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	for _, d := range []string{"bin", "etc/deep/er", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{
		"bin/sh": "#!", "etc/passwd": "root:x:0:0::/:\napp:x:12:34::/:\n", "etc/deep/er/\xff": strings.Repeat("text", 100000), "etc/empty": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Link(filepath.Join(dir, "bin/sh"), filepath.Join(dir, "bin/bash")),
		os.Symlink("/etc/passwd", filepath.Join(dir, "etc/link")),
		os.Chtimes(filepath.Join(dir, "bin/sh"), time.Time{}, time.Unix(1e9, 0)),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}

// listing lists a tree: modes, times and content of files, targets of links.
func listing(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := info.Mode().String() + " " + strings.TrimPrefix(path, dir)
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + info.ModTime().UTC().Format(time.RFC3339) + " " + string(data)
		case os.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " " + target
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func sameFile(t *testing.T, dir, a, b string) bool {
	t.Helper()
	one, err := os.Stat(filepath.Join(dir, a))
	two, err2 := os.Stat(filepath.Join(dir, b))
	return err == nil && err2 == nil && os.SameFile(one, two)
}

// A directory becomes an image whose digest depends on its content, and every format gives the
// same directory back.
func TestRootFS(t *testing.T) {
	s, tree := newScene(t), newTree(t)
	want := listing(t, tree)
	digest := s.ok(t, "import", "--format", "tree", tree)
	packed := filepath.Join(s.home, "packed.sqfs")
	s.ok(t, "export", "--format", "sqfs", digest, packed)
	file := s.ok(t, "import", "--name", "packed", packed)
	if again := s.ok(t, "import", packed); again != file {
		t.Errorf("another digest of the same file: %s, %s", again, file)
	}
	if sum := execute(t, "sha256sum", packed); !strings.HasPrefix(sum, strings.TrimPrefix(file, "sha256:")+" ") {
		t.Errorf("%s is not of the file: %s", file, sum)
	}
	copied := filepath.Join(s.home, "copied.sqfs")
	s.ok(t, "export", "--format", "sqfs", "packed", copied)
	one, err := os.ReadFile(packed)
	two, err2 := os.ReadFile(copied)
	if err != nil || err2 != nil || !bytes.Equal(one, two) {
		t.Errorf("a copy differs: %v, %v", err, err2)
	}
	s.ok(t, "verify")
	for _, from := range []string{digest, "packed"} {
		for _, format := range []export.Format{export.RootFS, export.Bundle, export.Layout, export.OCIArchive, export.DockerArchive} {
			to := filepath.Join(s.home, from[:6]+"."+string(format))
			s.ok(t, "export", "--format", string(format), from, to)
			dir := to
			switch format {
			case export.RootFS:
			case export.Bundle:
				dir = filepath.Join(to, "rootfs")
			default:
				dir = filepath.Join(to + ".back")
				s.ok(t, "pull", string(format)+":"+to, dir)
				dir = filepath.Join(dir, "rootfs")
			}
			if got := listing(t, dir); !slices.Equal(got, want) || !sameFile(t, dir, "bin/sh", "bin/bash") {
				t.Errorf("%s as %s:\n%q\nwant\n%q", from, format, got, want)
			}
		}
	}
	for _, file := range []string{"packed.oci-archive", "packed.docker-archive"} {
		kind := strings.TrimPrefix(filepath.Ext(file), ".")
		if out := execute(t, "skopeo", "inspect", kind+":"+filepath.Join(s.home, file)); !strings.Contains(out, `"Os": "linux"`) {
			t.Errorf("skopeo: %s", out)
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if other := s.ok(t, "import", "--format", "tree", tree); other == digest {
		t.Error("the same digest of another tree")
	}
	if err := os.WriteFile(filepath.Join(tree, ".wh.new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.call(t, "import", tree); err == nil || !strings.Contains(hint(err), ".wh.") {
		t.Errorf("a name that is a whiteout: %v", err)
	}
	for _, e := range mustRead(t, s.home) {
		if strings.HasPrefix(e, ".ocishim-") {
			t.Errorf("left: %s", e)
		}
	}
}

func mustRead(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// sif returns a SIF file as Apptainer writes it.
func sif(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open("../../internal/image/source/testdata/apptainer.sif.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The squashfs and the configuration of a SIF file are kept.
func TestSIF(t *testing.T) {
	s, data := newScene(t), sif(t)
	file := filepath.Join(s.home, "x.sif")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	digest := s.ok(t, "pull", "--platform", "amd64", "./x.sif")
	var record struct {
		image.Record
		Path string
	}
	if out := s.ok(t, "inspect", digest); json.Unmarshal([]byte(out), &record) != nil || record.Format != image.Squashfs || record.Config.WorkingDir != "/w" || record.Platform.Architecture != "amd64" {
		t.Errorf("%+v", record)
	}
	if head, err := os.ReadFile(record.Path); err != nil || !bytes.HasPrefix(head, []byte("hsqs")) {
		t.Errorf("%v, %q", err, head[:min(len(head), 4)])
	}
	if _, err := s.call(t, "import", "--platform", "riscv64", file); err == nil || !strings.Contains(err.Error(), "not for this platform") {
		t.Errorf("for another platform: %v", err)
	}
	if err := os.WriteFile(file, data[:len(data)-4096], 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.call(t, "import", file); err == nil {
		t.Errorf("a file that is cut off: %s", out)
	}
}

// A bundle follows the image's configuration, and does not overwrite anything.
func TestBundle(t *testing.T) {
	s, name := newScene(t), "oci:"+newLayout(t)+":tag"
	dir := filepath.Join(s.home, "bundle")
	digest := s.ok(t, "pull", name, dir)
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(spec.Process.Args, []string{"sh"}) || !slices.Contains(spec.Process.Env, "A=1") || spec.Process.Cwd != "/" || spec.Root.Path != "rootfs" {
		t.Errorf("%s", data)
	}
	if _, err := os.Stat(filepath.Join(dir, "rootfs/architecture")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(s.store, "images")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is also in the store: %v", err)
	}
	if _, err := s.call(t, "pull", name, dir); !errors.Is(err, export.ErrExists) {
		t.Errorf("over another: %v", err)
	}
	empty := filepath.Join(s.home, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	if again := s.ok(t, "pull", name, empty); again != digest || !slices.Equal(mustRead(t, empty), []string{"config.json", "rootfs"}) {
		t.Errorf("%s, %q", again, mustRead(t, empty))
	}
	if _, err := s.call(t, "pull", "oci:/none:x", filepath.Join(s.home, "none")); err == nil || slices.Contains(mustRead(t, s.home), "none") {
		t.Errorf("of no image: %v", err)
	}
}

// A site's store is searched first, and never written to.
func TestSiteStore(t *testing.T) {
	site, s, name := newScene(t), newScene(t), "oci:"+newLayout(t)+":tag"
	digest := site.ok(t, "pull", name)
	if out := s.ok(t, "--site-store", site.store, "pull", name); out != digest {
		t.Errorf("pull: %s", out)
	}
	if out := s.ok(t, "ls", "--json"); out != "[]" {
		t.Errorf("the user's own store also has it: %s", out)
	}
	var d decision
	if out := s.ok(t, "--site-store", site.store, "which", "--json", name); json.Unmarshal([]byte(out), &d) != nil || d.Store != site.store || string(d.Digest) != digest {
		t.Errorf("which: %s", out)
	}
	if out := s.ok(t, "which", name); !strings.Contains(out, "none has the image") {
		t.Errorf("which: %s", out)
	}
	if err := os.Chmod(site.store, 0o777); err != nil {
		t.Fatal(err)
	}
	if out := s.ok(t, "--site-store", site.store, "which", name); !strings.Contains(out, "none has the image") {
		t.Errorf("of a store that all may write to: %s", out)
	}
}
