package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"golang.org/x/sys/unix"
)

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open makes a tree with the files and links (names ending in @).
func open(t *testing.T, files map[string]string) *Tree {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		try(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if link, ok := trimSuffix(path, "@"); ok {
			try(t, os.Symlink(content, link))
			continue
		}
		try(t, os.WriteFile(path, []byte(content), 0o644))
	}
	tree, err := Open(root, nil)
	try(t, err)
	t.Cleanup(tree.Close)
	return tree
}

func trimSuffix(s, suffix string) (string, bool) {
	if len(s) < len(suffix) || s[len(s)-len(suffix):] != suffix {
		return s, false
	}
	return s[:len(s)-len(suffix)], true
}

// Whatever a link contains, nothing outside the root is read, also on old kernels.
func TestTreeStaysInside(t *testing.T) {
	t.Run("openat2", testStaysInside)
	defer func() { openat2 = unix.Openat2 }()
	openat2 = func(int, string, *unix.OpenHow) (int, error) { return -1, unix.ENOSYS }
	t.Run("without", testStaysInside)
}

func testStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	try(t, os.WriteFile(outside, []byte("outside"), 0o600))
	tree := open(t, map[string]string{
		"etc/own":     "inside",
		"abs@":        outside,
		"up@":         "../../../../../../../.." + outside,
		"etc/link@":   "/etc/own",
		"dir@":        "/etc",
		"loop@":       "loop",
		"etc/passwd@": "/../../etc/own",
	})
	for path, want := range map[string]string{
		"/etc/own": "inside", "/etc/link": "inside", "/dir/own": "inside", "/../etc/own": "inside", "/etc/passwd": "inside",
		"/abs": "", "/up": "", "/loop": "", "/dir": "", "/none": "",
	} {
		got, err := tree.ReadFile(path)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
		}
	}
	if got, err := tree.Resolve("/dir/link"); got != "/etc/own" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := tree.Resolve("/"); got != "/" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := tree.Readlink("/dir/link"); got != "/etc/own" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	names := tree.Names("/dir")
	slices.Sort(names)
	if !slices.Equal(names, []string{"link", "own", "passwd"}) {
		t.Errorf("got %v", names)
	}
	for _, entry := range tree.Entries("/dir") {
		if entry.Name() == "link" && entry.Type() != fs.ModeSymlink || entry.IsDir() {
			t.Errorf("%s is of kind %v", entry.Name(), entry.Type())
		}
	}
	if tree.Names("/etc/own") != nil || tree.Names("/none") != nil || len(tree.Entries("/dir")) != 3 || tree.Entries("/etc/own") != nil {
		t.Error("a file has names in it")
	}
	sub, err := tree.Sub("/dir")
	try(t, err)
	defer sub.Close()
	if got := sub.ReadLine("/own"); got != "inside" {
		t.Errorf("below etc got %q", got)
	}
	if sub.Exists("/link") {
		t.Error("a link leads out of the sub-tree")
	}
}

// A pipe would block a reader forever, and a large file would use up memory.
func TestTreeReadsOnlyFiles(t *testing.T) {
	tree := open(t, map[string]string{"large": ""})
	try(t, unix.Mkfifo(tree.HostPath("/fifo"), 0o666))
	try(t, os.Truncate(tree.HostPath("/large"), MaxFile+1))
	done := make(chan error, 1)
	go func() {
		_, err := tree.ReadFile("/fifo")
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, ErrNotRegular) {
			t.Errorf("fifo: %v", err)
		}
	case <-pace.After(10 * time.Second):
		t.Fatal("waits at a fifo")
	}
	if _, err := tree.ReadFile("/large"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large file: %v", err)
	}
}

func TestTreeOfThisMachine(t *testing.T) {
	tree, err := Open("/", nil)
	try(t, err)
	defer tree.Close()
	if !tree.IsFile("/etc/passwd") || !tree.IsDir("/etc") || tree.IsFile("/etc") || tree.ModTime("/etc").IsZero() {
		t.Error("/etc is not what it is")
	}
	if name := tree.GroupName("0"); name != "root" {
		t.Errorf("group 0 is %q", name)
	}
	d, err := tree.Device("/dev/null")
	if err != nil || d.Type != "c" || d.Major != 1 || d.Minor != 3 || d.Denied != nil || d.Path != "/dev/null" {
		t.Errorf("/dev/null is %+v, %v", d, err)
	}
	if _, err := tree.Device("/etc/passwd"); !errors.Is(err, ErrNotDevice) {
		t.Errorf("/etc/passwd: %v", err)
	}
	if _, err := tree.Device("/dev/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/dev/none: %v", err)
	}
}

func TestLibraryRefusesGarbage(t *testing.T) {
	tree := open(t, map[string]string{"text": "not ELF", "short": "\x7fELF\x02\x01\x01"})
	for _, path := range []string{"/text", "/short", "/none"} {
		if lib, err := tree.Library(path); err == nil {
			t.Errorf("%s: got %+v", path, lib)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, pair := range [][2]string{{"2.9", "2.34"}, {"535.54.03", "550"}, {"550", "550.1"}, {"", "1"}, {"x", "1"}} {
		if CompareVersions(pair[0], pair[1]) >= 0 || CompareVersions(pair[1], pair[0]) <= 0 {
			t.Errorf("%v is not in order", pair)
		}
	}
	if CompareVersions("2.0", "2") != 0 {
		t.Error("2.0 is not 2")
	}
	if got := Greatest("GLIBC_", []string{"GLIBC_2.9", "GLIBC_2.34", "GLIBC_PRIVATE", "GCC_3"}); got != "2.34" {
		t.Errorf("got %s", got)
	}
}
