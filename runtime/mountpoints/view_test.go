package mountpoints

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Where paths lead in an image with mounts over it.
func TestView(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rootfs, host := filepath.Join(dir, "rootfs"), filepath.Join(dir, "host")
	for _, made := range []string{"etc", "var/home", "tmp", "usr/etc"} {
		if err := os.MkdirAll(filepath.Join(rootfs, made), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(host+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"home": "var/home", "etc/out": "/tmp/x", "etc/deep": "../tmp/sub/y", "a": "b", "b": "a", "c": "tmp", "d": "c", "e": "usr/etc/../etc", "f": "none/x", "self": ".",
		"etc/hidden": "/tmp/link", "tmp/link": "/usr/x", "etc/conf": "/self/usr/etc/conf",
	} {
		if err := os.Symlink(target, filepath.Join(rootfs, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(rootfs+"/etc/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenFile(rootfs, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	v := newView(root)
	v.mount("/tmp", specs.Mount{Type: "bind", Source: host, Options: []string{"rbind"}})
	v.mount("/run", specs.Mount{Type: "tmpfs"})
	v.earlier = map[string]bool{"/tmp": true, "/run": true}
	for _, c := range []struct {
		path, exact, link, rest string // the result of findExact, or where it leaves the image
		found, on               string // the result of find, with the mount; ! for nothing there
	}{
		{"/etc/passwd", "!/etc/passwd", "", "", "!/etc/passwd", ""},
		{"/home/alice", "!/var/home/alice", "", "", "!/var/home/alice", ""},
		{"/etc/out", "/etc/out", "", "", "!/tmp/x", "/tmp"},
		{"/etc/out/z", "", "/etc/out", "z", "!/tmp/x/z", "/tmp"},
		{"/etc/deep/z", "", "/etc/deep", "z", "!/tmp/sub/y/z", "/tmp"},
		{"/a/x", "", "/a", "x", "", ""},
		{"/d/sub/z", "", "/d", "sub/z", "!/tmp/sub/z", "/tmp"},
		{"/d/sub", "", "/d", "sub", "/tmp/sub", "/tmp"},
		{"/e/x", "!/usr/etc/x", "", "", "!/usr/etc/x", ""},
		{"/f/y", "!/none/x/y", "", "", "!/none/x/y", ""},
		{"/self/self/etc/file", "/etc/file", "", "", "/etc/file", ""},
		{"/etc/file/x", "", "/etc/file", "x", "!/etc/file/x", ""},
		{"/etc/hidden/y", "", "/etc/hidden", "y", "!/tmp/link/y", "/tmp"},
		{"/etc/conf", "/etc/conf", "", "", "!/usr/etc/conf", ""},
		{"/tmp/sub", "/tmp/sub", "", "", "/tmp/sub", "/tmp"},
		{"/run/x", "!/run/x", "", "", "!/run/x", "/run"},
		{"/etc/../usr/./etc", "/usr/etc", "", "", "/usr/etc", ""},
	} {
		got := v.findExact(c.path)
		if got.link != c.link || got.rest != c.rest || c.link == "" && mark(got) != c.exact {
			t.Errorf("%s exactly: %+v", c.path, got)
		}
		if c.found == "" {
			continue // it goes in circles
		}
		if got := v.find(c.path); mark(got) != c.found || got.on != c.on {
			t.Errorf("%s: %+v", c.path, got)
		}
		if got := v.findIn(c.path); mark(got) != c.found || got.on != c.on {
			t.Errorf("%s in its directory: %+v", c.path, got)
		}
	}
	v.earlier["/run"] = true
	v.mount("/usr", specs.Mount{Type: "bind", Source: host, Options: []string{"rbind"}})
	if got := v.findExact("/usr/etc"); mark(got) != "/usr/etc" || got.on != "" {
		t.Errorf("below what is mounted later: %+v", got)
	}
	if err := os.Symlink("../run", rootfs+"/var/run"); err != nil {
		t.Fatal(err)
	}
	if got := v.findExact("/var/run/x"); mark(got) != "!/run/x" || got.on != "/run" || got.link != "" {
		t.Errorf("in a tmpfs of the container: %+v", got)
	}
	if deepest := v.find("/home/alice/x/y").deepest; deepest != "/var/home" {
		t.Errorf("the deepest directory is %s", deepest)
	}
	if got := v.find(strings.Repeat("/self", 60)); got.kind != 0 {
		t.Errorf("sixty links: %+v", got)
	}
}

func mark(l lead) string {
	if l.kind == 0 {
		return "!" + l.path
	}
	return l.path
}
