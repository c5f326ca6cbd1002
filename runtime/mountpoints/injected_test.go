package mountpoints

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// injected makes files and links for a container of the image, and describes the sources of its
// mounts.
func injected(t *testing.T, root string, b *bundle.Bundle, procToo bool) (mounts []string, dir string) {
	t.Helper()
	dir = t.TempDir()
	before := listing(t, root)
	b.Rootfs = root
	b.Spec.Root = &specs.Root{Path: root}
	edits, err := Injected(b, dir, procToo)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(edits...); err != nil {
		t.Fatal(err)
	}
	plan, err := New(b, dir, Options{ByPath: true, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(plan.Edit); err != nil {
		t.Fatal(err)
	}
	if after := listing(t, root); !slices.Equal(before, after) {
		t.Errorf("the image was changed:\n%q\n%q", before, after)
	}
	for _, m := range b.Spec.Mounts {
		source := strings.NewReplacer(dir, "scaffold:", root, "image:").Replace(m.Source)
		mounts = append(mounts, m.Destination+" from "+source)
	}
	return mounts, dir
}

func TestInjectedFiles(t *testing.T) {
	root := image(t, "etc/cache", "proc/", "dev/")
	b := &bundle.Bundle{
		Spec: &specs.Spec{Mounts: []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}}},
		Files: []bundle.File{
			{Path: "/etc/cache", Data: []byte("new")},
			{Path: "/proc/cpuinfo", Data: []byte("x"), Optional: true},
			{Path: "/proc/none/such", Data: []byte("x"), Optional: true},
		},
	}
	got, made := injected(t, root, b, false)
	expectEdits(t, got, "/proc from proc", "/etc/cache from scaffold:/injected/files/0")
	data, err := os.ReadFile(made + "/injected/files/0")
	if err != nil || string(data) != "new" {
		t.Errorf("got %q, %v", data, err)
	}
	if !slices.Contains(b.Spec.Mounts[1].Options, "ro") {
		t.Error("the file can be written")
	}

	b.Spec.Mounts = b.Spec.Mounts[:1]
	got, _ = injected(t, root, b, true)
	expectEdits(t, got, "/proc from proc", "/etc/cache from scaffold:/injected/files/0", "/proc/cpuinfo from scaffold:/injected/files/1")
}

// Links on a tmpfs of the container are in a directory of ours, which has mount points for what is
// mounted there.
func TestInjectedLinksOnTmpfs(t *testing.T) {
	root := image(t, "dev/")
	file := filepath.Join(t.TempDir(), "lib")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bundle.Bundle{
		Spec: &specs.Spec{Mounts: []specs.Mount{
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
			bind(file, "/dev/own/lib/x.so.1.2"), bind(file, "/dev/own/lib/sub/y"), bind("/etc", "/dev/own/libs"),
		}},
		Links: []bundle.Link{{Path: "/dev/own/lib/x.so", Target: "x.so.1.2"}, {Path: "/dev/own/lib/deep/er/x", Target: "../../x.so"}, {Path: "/dev/own/lib-more/z", Target: "z"}},
	}
	got, made := injected(t, root, b, false)
	expectEdits(t, got,
		"/dev from tmpfs", "/dev/own/lib from scaffold:/injected/directories/0",
		"/dev/own/lib/x.so.1.2 from "+file, "/dev/own/lib/sub/y from "+file, "/dev/own/libs from /etc",
		"/dev/own/lib-more from scaffold:/injected/directories/1")
	for name, want := range map[string]string{"0/x.so": "x.so.1.2", "0/deep/er/x": "../../x.so", "1/z": "z"} {
		if target, err := os.Readlink(made + "/injected/directories/" + name); err != nil || target != want {
			t.Errorf("link %s: %q, %v", name, target, err)
		}
	}
	for _, name := range []string{"0/x.so.1.2", "0/sub/y"} {
		if info, err := os.Lstat(made + "/injected/directories/" + name); err != nil || !info.Mode().IsRegular() {
			t.Errorf("mount point %s: %v, %v", name, info, err)
		}
	}
}

// Links in a directory of the image are in its cover, and replace what has their name there. Links
// below another mount are left to that mount.
func TestInjectedLinksInImage(t *testing.T) {
	root := image(t, "lib/a", "lib/b", "lib/c -> b", "opt/", "host/")
	b := &bundle.Bundle{
		Spec:  &specs.Spec{Mounts: []specs.Mount{bind("/etc", "/host")}},
		Links: []bundle.Link{{Path: "/lib/a", Target: "b"}, {Path: "/lib/c", Target: "a"}, {Path: "/opt/new/dir/l", Target: "/x"}, {Path: "/host/l", Target: "x"}},
	}
	got, made := injected(t, root, b, false)
	expectEdits(t, got, "/lib from scaffold:/1", "/lib/b from image:/lib/b", "/opt from scaffold:/2", "/host from /etc")
	for name, want := range map[string]string{"1/a": "b", "1/c": "a", "2/new/dir/l": "/x"} {
		if target, err := os.Readlink(filepath.Join(made, name)); err != nil || target != want {
			t.Errorf("link %s: %q, %v", name, target, err)
		}
	}
}

// A link cannot redirect what is made later out of the directory.
func TestInjectedLinksAreNotFollowed(t *testing.T) {
	outside := t.TempDir()
	b := &bundle.Bundle{
		Rootfs: image(t, "dev/"),
		Spec:   &specs.Spec{Mounts: []specs.Mount{{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"}}},
		Links:  []bundle.Link{{Path: "/dev/a/l", Target: outside}, {Path: "/dev/a/l/x", Target: "y"}},
	}
	if _, err := Injected(b, t.TempDir(), false); err == nil {
		t.Error("a link below a link was made")
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) > 0 {
		t.Errorf("something was made outside: %v, %v", names, err)
	}
}
