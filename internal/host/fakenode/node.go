// Package fakenode makes trees of files that look like hosts with GPUs, for tests: they
// need no GPU, no driver and no privilege. A device node is a plain file there, whose
// content says which device node it stands for.
package fakenode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// A Node is a fake host.
type Node struct {
	T    testing.TB
	Root string
}

// New returns an empty host with a boot id.
func New(t testing.TB) *Node {
	t.Helper()
	n := &Node{t, t.TempDir()}
	n.File("/proc/sys/kernel/random/boot_id", "6d7b1b06-0000-4000-8000-000000000001\n")
	n.File("/proc/sys/kernel/osrelease", "6.1.0-test\n")
	n.File("/etc/group", "root:x:0:\nvideo:x:44:\nrender:x:109:\n")
	n.Dir("/dev")
	return n
}

// Tree returns the view of the host.
func (n *Node) Tree() *host.Tree {
	n.T.Helper()
	t, err := host.Open(n.Root, Prober{})
	n.check(err)
	n.T.Cleanup(t.Close)
	return t
}

func (n *Node) check(err error) {
	n.T.Helper()
	if err != nil {
		n.T.Fatal(err)
	}
}

// Path returns the real path of a file of the host.
func (n *Node) Path(path string) string { return filepath.Join(n.Root, path) }

// Dir makes a directory and its parents.
func (n *Node) Dir(path string) {
	n.T.Helper()
	n.check(os.MkdirAll(n.Path(path), 0o755))
}

// File makes a file.
func (n *Node) File(path, content string) {
	n.T.Helper()
	n.Dir(filepath.Dir(path))
	n.check(os.WriteFile(n.Path(path), []byte(content), 0o755))
}

// Link makes a symbolic link.
func (n *Node) Link(path, target string) {
	n.T.Helper()
	n.Dir(filepath.Dir(path))
	n.check(os.Symlink(target, n.Path(path)))
}

// Remove removes a file.
func (n *Node) Remove(path string) {
	n.T.Helper()
	n.check(os.RemoveAll(n.Path(path)))
}

// Device makes a character device that everyone may use, with gid 0.
func (n *Node) Device(path string, major, minor int) {
	n.T.Helper()
	n.File(path, fmt.Sprintf("c %d %d %o %d ok\n", major, minor, 0o666, 0))
}

// Deny makes a device that the task may not use: EPERM, as from a device cgroup, or
// EACCES, since only group gid may use it.
func (n *Node) Deny(path string, why error, gid int) {
	n.T.Helper()
	data, err := os.ReadFile(n.Path(path))
	n.check(err)
	var major, minor int
	_, err = fmt.Sscanf(string(data), "c %d %d", &major, &minor)
	n.check(err)
	mode, word := 0o666, "EPERM"
	if errors.Is(why, unix.EACCES) {
		mode, word = 0o660, "EACCES"
	}
	n.File(path, fmt.Sprintf("c %d %d %o %d %s\n", major, minor, mode, gid, word))
}

// Prober reads the files that stand for device nodes.
type Prober struct{}

// Probe implements host.Prober.
func (Prober) Probe(path string, _ bool) (host.Device, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return host.Device{}, err
	}
	notDevice := &fs.PathError{Op: "probe", Path: path, Err: host.ErrNotDevice}
	if !info.Mode().IsRegular() || info.Size() > 100 {
		return host.Device{}, notDevice
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return host.Device{}, err
	}
	d := host.Device{Path: path}
	word := ""
	if _, err := fmt.Sscanf(string(data), "%s %d %d %o %d %s", &d.Type, &d.Major, &d.Minor, &d.Perm, &d.GID, &word); err != nil {
		return host.Device{}, notDevice
	}
	switch word {
	case "EPERM":
		d.Denied = unix.EPERM
	case "EACCES":
		d.Denied = unix.EACCES
	}
	return d, nil
}

// Readable implements host.Prober; files that are not devices are readable.
func (p Prober) Readable(path string) bool {
	d, err := p.Probe(path, false)
	return err != nil || d.Denied == nil
}

// LoaderCache writes /etc/ld.so.cache with the libraries, each given as "name path".
func (n *Node) LoaderCache(libraries ...string) {
	n.T.Helper()
	c := new(ldcache.Cache)
	for _, l := range libraries {
		name, path, _ := strings.Cut(l, " ")
		c.Entries = append(c.Entries, ldcache.Entry{Name: name, Path: path, Flags: ldcache.Flags("amd64")})
	}
	n.File(ldcache.Path, string(c.Encode()))
}

// Image returns the root file system of a container with that version of glibc; "musl"
// makes one with musl, "" one with neither.
func Image(t testing.TB, libc string) *Node {
	t.Helper()
	n := &Node{t, t.TempDir()}
	for _, dir := range []string{"/etc", "/usr/bin", "/usr/local/bin", "/tmp", "/run", "/dev", "/proc", "/sys"} {
		n.Dir(dir)
	}
	switch libc {
	case "musl":
		n.File("/lib/ld-musl-x86_64.so.1", "")
		return n
	case "":
		return n
	}
	n.File("/usr/lib/x86_64-linux-gnu/libc.so.6", ELF{Soname: "libc.so.6", Defines: []string{"GLIBC_2.2.5", "GLIBC_2.4", "GLIBC_" + libc}}.String())
	n.Link("/lib", "usr/lib")
	n.LoaderCache("libc.so.6 /lib/x86_64-linux-gnu/libc.so.6", "libz.so.1 /lib/x86_64-linux-gnu/libz.so.1")
	return n
}
