package runtime

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/stateroot"
)

func TestMakeStore(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := MakeStore(filepath.Join(file, "below"), filepath.Join(dir, "a", "b"), filepath.Join(dir, "c"))
	if err != nil {
		t.Fatal(err)
	}
	if s.root.Dir() != filepath.Join(dir, "a", "b") {
		t.Errorf("store in %s", s.root.Dir())
	}
	info, err := os.Stat(s.root.Dir())
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v, want 0700", info.Mode(), err)
	}
	if _, err := MakeStore(filepath.Join(file, "below")); !errors.Is(err, stateroot.ErrNone) {
		t.Errorf("no root can be made: %v, want ErrNone", err)
	}
}

func TestUnsafeRoots(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"link": func(p string) error { return os.Symlink(os.TempDir(), p) },
		"file": func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"open": func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o777)) },
	} {
		path := filepath.Join(t.TempDir(), "root")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if s, err := MakeStore(path); !errors.Is(err, stateroot.ErrUnsafe) {
			t.Errorf("make %s: %v, %v, want ErrUnsafe", name, s, err)
		}
		if s, err := OpenStores(path); !errors.Is(err, stateroot.ErrUnsafe) {
			t.Errorf("open %s: %v, %v, want ErrUnsafe", name, s, err)
		}
		// Anybody could have put it there, so it must not stop the user.
		next := filepath.Join(t.TempDir(), "next")
		if s, err := MakeStore(path, next); err != nil || s.root.Dir() != next {
			t.Errorf("make %s, or the next: %v, %v", name, s, err)
		}
		if stores, err := OpenStores(path, next); err != nil || len(stores) != 1 {
			t.Errorf("open %s and the next: %v, %v", name, stores, err)
		}
	}
}

func TestForeignRoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		path = "/" // root's
	} else if err := os.Chown(path, 4242, 4242); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeStore(path); !errors.Is(err, stateroot.ErrUnsafe) {
		t.Errorf("a root of another user: %v, want ErrUnsafe", err)
	}
}

// The owner of the first directory, link or file that is not root's controls the path,
// however it goes on; root must not follow a user's link.
func TestPathOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of other users; the suite runs as root, too")
	}
	dir := t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for p := dir; p != "/" && p != "/tmp"; p = filepath.Dir(p) {
		do(os.Chown(p, 0, 0))
	}
	user := filepath.Join(dir, "user")
	do(os.MkdirAll(filepath.Join(user, "inner"), 0o755))
	do(os.Chown(user, 4242, 4243))
	do(os.MkdirAll(filepath.Join(dir, "root", "deep"), 0o755))
	do(os.Symlink("user", filepath.Join(dir, "rootlink")))
	do(os.Symlink(filepath.Join(dir, "root"), filepath.Join(dir, "userlink")))
	do(os.Lchown(filepath.Join(dir, "userlink"), 4244, 4244))
	do(os.Symlink("loop", filepath.Join(dir, "loop")))
	do(os.Symlink("root/deep", filepath.Join(dir, "deeplink")))
	do(os.MkdirAll(filepath.Join(dir, "open", "below"), 0o755))
	do(os.Chmod(filepath.Join(dir, "open"), 0o777))
	for path, want := range map[string]int{
		"user":                4242,
		"user/inner":          4242,
		"user/missing/x":      4242,
		"root":                0,
		"root/deep":           0,
		"root/missing":        0,
		"rootlink":            4242,
		"rootlink/inner":      4242,
		"root/../user/inner":  4242,
		"userlink":            4244,
		"userlink/deep":       4244,
		"userlink/../root":    4244,
		"user/../root":        4242,
		"deeplink/../deep":    0,
		"deeplink/../../user": 4242,
	} {
		uid, _, err := PathOwner(dir + "/" + path)
		if err != nil || uid != want {
			t.Errorf("PathOwner(%s) = %d, %v, want %d", path, uid, err, want)
		}
	}
	if _, _, err := PathOwner(dir + "/loop"); err == nil {
		t.Error("PathOwner of a loop of links: no error")
	}
	if _, _, err := PathOwner(dir + "/open/below"); !errors.Is(err, stateroot.ErrUnsafe) {
		t.Errorf("PathOwner below a directory of everybody's: %v, want ErrUnsafe", err)
	}
	if path, err := PhysicalPath(dir + "/deeplink/../deep"); err != nil || path != filepath.Join(dir, "root", "deep") {
		t.Errorf("PhysicalPath of a link's parent = %s, %v", path, err)
	}
}

// Root writes, or connects, only to what was checked: no link of a user's on the way, nor a
// `..` behind one, leads it elsewhere.
func TestRootsFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of other users; the suite runs as root, too")
	}
	dir := t.TempDir()
	user, deep := filepath.Join(dir, "user"), filepath.Join(dir, "root", "a", "b")
	own := func(path string) error { return os.Lchown(path, 4242, 4242) }
	if err := errors.Join(os.MkdirAll(deep, 0o755), os.Mkdir(user, 0o755), own(user),
		os.Symlink(deep, filepath.Join(user, "x")), own(filepath.Join(user, "x")),
		os.Symlink(deep, filepath.Join(dir, "ours"))); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(deep, "socket"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for path, allowed := range map[string]bool{
		"user/x/../": false, "user/x/../../": false, "user/x/": false, "user/": false,
		"root/a/": true, "root/a/../": true, "ours/": true, "ours/../": true, "ours/../../": true,
	} {
		f, err := OpenLog(dir + "/" + path + "log")
		if err == nil {
			f.Close()
		}
		perr := writePidFile(dir+"/"+path+"pid", 7)
		if (err == nil) != allowed || (perr == nil) != allowed {
			t.Errorf("root writes in %s: log %v, pid file %v; allowed: %v", path, err, perr, allowed)
		}
	}
	for path, allowed := range map[string]bool{"user/x/socket": false, "root/a/b/socket": true, "ours/socket": true} {
		conn, err := dialSocket(dir+"/"+path, "unix")
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != allowed {
			t.Errorf("root connects to %s: %v; allowed: %v", path, err, allowed)
		}
	}
}

// A log may be a descriptor that the caller has opened, such as a pipe or a file that was
// removed. Our own descriptors are refused.
func TestLogToDescriptor(t *testing.T) {
	dir := t.TempDir()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	own, err := os.Create(filepath.Join(dir, "own"))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	for _, of := range []string{"/dev/fd/", "/proc/self/fd/", "//dev/./fd/"} {
		f, err := OpenLog(of + strconv.Itoa(pipe[1]))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString("said\n")
		f.Close()
		text := make([]byte, 10)
		if n, rerr := unix.Read(pipe[0], text); err != nil || rerr != nil || string(text[:n]) != "said\n" {
			t.Errorf("%s: %v, %v: %q", of, err, rerr, text)
		}
		if _, err := OpenLog(of + strconv.Itoa(int(own.Fd()))); err == nil {
			t.Errorf("%s: a descriptor of our own is taken", of)
		}
	}
	for _, path := range []string{"/dev/stderr", "/dev/stdout"} {
		f, err := OpenLog(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

func TestBecomeRefusesRoot(t *testing.T) {
	for _, ids := range [][2]int{{0, 1000}, {1000, -1}, {-1, 1000}} {
		if err := GiveUpRoot(ids[0], ids[1]); err == nil {
			t.Errorf("GiveUpRoot(%d, %d): no error", ids[0], ids[1])
		}
	}
}
