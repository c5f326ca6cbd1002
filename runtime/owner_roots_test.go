package runtime

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/pace"
)

// Root works in a process of its own on what may be a user's, or on a file system that may
// never answer, and only then: it costs a second start of the program.
func TestOnlyRoots(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount, and make files of other users; the suite runs as root, too")
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
	memory := filepath.Join(dir, "memory fs")
	do(os.Mkdir(memory, 0o755))
	mountFor(t, "tmpfs", memory, "mode=755")
	for _, name := range []string{"root/deep", "user/inner", "silent", "twice", "bound"} {
		do(os.MkdirAll(filepath.Join(memory, name), 0o755))
	}
	do(os.Chown(filepath.Join(memory, "user"), 4242, 4242))
	do(os.Symlink(memory, filepath.Join(dir, "link")))
	do(os.Symlink("user", filepath.Join(memory, "tousers")))
	mountSilence(t, filepath.Join(memory, "silent"))
	mountSilence(t, filepath.Join(memory, "twice"))
	mountFor(t, "tmpfs", filepath.Join(memory, "twice"), "mode=755")
	do(unix.Mount(filepath.Join(memory, "silent"), filepath.Join(memory, "bound"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(memory, "bound"), unix.MNT_DETACH) })
	for path, want := range map[string]bool{
		"":                         true,
		"missing/x":                true,
		"memory fs":                true,
		"memory fs/root/deep":      true,
		"memory fs/root/missing/x": true,
		"link/root":                true,
		"memory fs/user":           false,
		"memory fs/user/inner":     false,
		"memory fs/tousers/inner":  false,
		"memory fs/root/../root":   false,
		"memory fs/silent":         false,
		"memory fs/silent/x":       false,
		"link/silent/x":            false,
		"memory fs/bound":          false,
		"memory fs/twice/x":        true,
	} {
		found := make(chan bool, 1)
		go func() { found <- OnlyRoots(dir + "/" + path) }()
		select {
		case got := <-found:
			if got != want {
				t.Errorf("OnlyRoots(%s) = %v, want %v", path, got, want)
			}
		case <-pace.After(10 * time.Second):
			t.Fatalf("OnlyRoots(%s) waits for an answer", path)
		}
	}
}

// mountFor mounts a file system until the test ends.
func mountFor(t *testing.T, kind, dir, options string) {
	t.Helper()
	if err := unix.Mount(kind, dir, kind, unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		lacks(t, kind+": "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// mountSilence mounts a file system that says it is root's, and never responds.
func mountSilence(t *testing.T, dir string) {
	t.Helper()
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		lacks(t, "FUSE: "+err.Error())
	}
	mountFor(t, "fuse", dir, "rootmode=40000,user_id=0,group_id=0,fd="+strconv.Itoa(int(device.Fd())))
	t.Cleanup(func() { device.Close() }) // ends every process that still waits
}

// lacks skips a test if the machine lacks something. CI's machine lacks nothing.
func lacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("cannot run without %s", what)
	}
	t.Skipf("cannot run without %s", what)
}
