package mountpoints

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// image makes a rootfs. Names that end in '/' are directories, "a -> b" is a link, and others are
// files; a directory called tmp is writable for everybody.
func image(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(root, link)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(name), 0o644)
		}
		if err == nil && filepath.Base(path) == "tmp" {
			err = os.Chmod(path, 0o777|os.ModeSticky)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func listing(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		names = append(names, fmt.Sprintf("%s %v %d", strings.TrimPrefix(path, dir), info.Mode(), info.Size()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// planned describes the mounts that New puts first, and what it made.
func planned(t *testing.T, root string, readonly bool, mounts ...specs.Mount) (edits []string, made string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "scaffold")
	before := listing(t, root)
	b := &bundle.Bundle{Rootfs: root, Spec: &specs.Spec{Root: &specs.Root{Path: root, Readonly: readonly}, Mounts: mounts}}
	plan, err := New(b, dir, Options{ByPath: true, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	edit := plan.Edit
	if after := listing(t, root); !slices.Equal(before, after) {
		t.Errorf("the image was changed:\n%q\n%q", before, after)
	}
	if edit.RootPath != "" {
		edits = append(edits, "/ from "+strings.TrimPrefix(edit.RootPath, dir))
	}
	var ofImage []string
	for _, m := range edit.MountsFirst {
		if strings.HasPrefix(m.Source, root+"/") {
			ofImage = append(ofImage, m.Destination)
		}
		source := strings.NewReplacer(dir, "scaffold:", root, "image:").Replace(m.Source)
		edits = append(edits, m.Destination+" from "+source)
		if slices.Contains(m.Options, "ro") != readonly {
			t.Errorf("mount %s has options %q in an image with readonly=%v", m.Destination, m.Options, readonly)
		}
	}
	if !slices.Equal(plan.OfImage, ofImage) {
		t.Errorf("of the image are said to be %q, and are %q", plan.OfImage, ofImage)
	}
	return edits, dir
}

func bind(source, target string) specs.Mount {
	return specs.Mount{Source: source, Destination: target, Options: []string{"bind"}}
}

func expectEdits(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("planned\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestScaffoldNothingMissing(t *testing.T) {
	root := image(t, "proc/", "run/", "var/run -> ../run", "run/slurm/", "tmp/")
	got, _ := planned(t, root, true, specs.Mount{Destination: "/proc", Type: "proc"}, bind("/etc", "/var/run/slurm/"))
	expectEdits(t, got)
}

// The mounts of a batch step: its spool directory and its script.
func TestScaffoldBatchStep(t *testing.T) {
	root := image(t, "run/lock/", "run/file", "run/link -> lock", "var/run -> /run", "tmp/")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, readonly := range []bool{true, false} {
		got, dir := planned(t, root, readonly, bind("/etc", "/var/run/slurm/"), bind(script, "/tmp/slurm/startup"))
		expectEdits(t, got, "/ from /0", "/var from image:/var",
			"/run from scaffold:/1", "/run/file from image:/run/file", "/run/lock from image:/run/lock",
			"/tmp from tmpfs")
		if target, err := os.Readlink(filepath.Join(dir, "1/link")); err != nil || target != "lock" {
			t.Errorf("link in the cover: %q, %v", target, err)
		}
		if info, err := os.Stat(filepath.Join(dir, "1/slurm")); err != nil || !info.IsDir() {
			t.Errorf("mount point in the cover: %v", err)
		}
	}
}

func TestScaffoldFileTarget(t *testing.T) {
	root := image(t, "etc/passwd")
	_, dir := planned(t, root, true, bind("/etc/passwd", "/etc/deep/er/hosts"))
	if info, err := os.Stat(filepath.Join(dir, "1/deep/er/hosts")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("mount point of a file: %v, %v", info, err)
	}
}

// A target missing at the top needs a new root. What is missing deeper is covered in the new root,
// parents first, and what is mounted anyway is not bound.
func TestScaffoldRoot(t *testing.T) {
	root := image(t, "bin -> usr/bin", "usr/bin/", "proc/", "tmp/", "tmp/x")
	got, _ := planned(t, root, true,
		specs.Mount{Destination: "/proc", Type: "proc"}, specs.Mount{Destination: "/sys", Type: "sysfs"},
		bind("/etc", "/tmp/slurm"), bind("/etc", "/sys/fs/made/there"))
	expectEdits(t, got, "/ from /0", "/usr from image:/usr", "/tmp from tmpfs", "/tmp/x from image:/tmp/x")
}

// Links of the image, dangling ones included, never lead out of it.
func TestScaffoldHostileLinks(t *testing.T) {
	outside := t.TempDir()
	root := image(t, "run -> "+outside, "up -> ../../../../../../"+outside, "opt/")
	got, dir := planned(t, root, false, bind("/etc", "/run/slurm"), bind("/etc", "/up/x"))
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("something was made outside the image: %v, %v", entries, err)
	}
	for _, edit := range got {
		if strings.Contains(edit, "from "+outside) {
			t.Errorf("the host's directory is mounted: %s", edit)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "0", outside, "slurm")); err != nil {
		t.Errorf("mount point below the link's place in the image: %v", err)
	}
}

// A mount with dots in its path goes where the path leads, by an edit: the bundle does not change.
func TestScaffoldDots(t *testing.T) {
	root := image(t, "proc/", "opt/", "run/x/", "dots -> run/x")
	mounts := []specs.Mount{{Destination: "/proc", Type: "proc"}, bind("/etc", "/dots/../there"), bind("/etc", "/none/../opt")}
	b := &bundle.Bundle{Rootfs: root, Spec: &specs.Spec{Root: &specs.Root{Path: root}, Mounts: slices.Clone(mounts)}}
	plan, err := New(b, filepath.Join(t.TempDir(), "s"), Options{ByPath: true, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(b.Spec.Mounts, mounts) {
		t.Errorf("the bundle's mounts are %v", b.Spec.Mounts)
	}
	if err := b.Apply(plan.Edit); err != nil {
		t.Fatal(err)
	}
	var ends []string
	for _, m := range b.Spec.Mounts[len(b.Spec.Mounts)-3:] {
		ends = append(ends, m.Destination)
	}
	if want := []string{"/proc", "/run/there", "/opt"}; !slices.Equal(ends, want) {
		t.Errorf("mounted at %q, want %q", ends, want)
	}
}

// The same for a working directory, even if nothing is missing.
func TestScaffoldCwdDots(t *testing.T) {
	root := image(t, "opt/")
	b := &bundle.Bundle{Rootfs: root, Spec: &specs.Spec{Root: &specs.Root{Path: root}, Process: &specs.Process{Cwd: "/none/../opt"}}}
	plan, err := New(b, filepath.Join(t.TempDir(), "s"), Options{ByPath: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := (bundle.Edit{From: "mount points", Cwd: "/opt"}); !reflect.DeepEqual(plan.Edit, want) {
		t.Errorf("planned %+v, want %+v", plan.Edit, want)
	}
}

func TestScaffoldTooLarge(t *testing.T) {
	root := image(t, "lib/")
	for i := range maxCovered + 1 {
		if err := os.WriteFile(filepath.Join(root, "lib", fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &bundle.Bundle{Rootfs: root, Spec: &specs.Spec{Root: &specs.Root{Path: root}, Mounts: []specs.Mount{bind("/etc", "/lib/x")}}}
	_, err := New(b, filepath.Join(t.TempDir(), "s"), Options{ByPath: true, Strict: true})
	if err == nil || !strings.Contains(err.Error(), "/lib") || !strings.Contains(err.Error(), "1001 entries") {
		t.Errorf("%v, want an error with the directory and its size", err)
	}
}
