package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// probeVariable makes the test program report what it may do with a device.
const probeVariable = "OCISHIM_TEST_PROBE"

func TestMain(m *testing.M) {
	if path := os.Getenv(probeVariable); path != "" {
		d, err := Kernel{}.Probe(path, true)
		fmt.Printf("%d:%d %v %v %v\n", d.Major, d.Minor, errors.Is(d.Denied, unix.EPERM), err, Kernel{}.Readable(path))
		return
	}
	os.Exit(m.Run())
}

// A real device cgroup denies a device node with EPERM, and nothing is opened.
func TestKernelAsksTheDeviceCgroup(t *testing.T) {
	const controller = "/sys/fs/cgroup/devices"
	if _, err := os.Stat(controller + "/devices.list"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and a cgroup v1 controller for devices")
	}
	cgroup := fmt.Sprintf("%s/ocishim-test-%d", controller, os.Getpid())
	try(t, os.Mkdir(cgroup, 0o755))
	defer func() { _ = os.Remove(cgroup) }()
	try(t, os.WriteFile(cgroup+"/devices.deny", []byte("c 1:5 rwm"), 0o600))
	node := filepath.Join(t.TempDir(), "node")
	try(t, unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
	for where, want := range map[string]string{cgroup: "1:5 true <nil> false", controller: "1:5 false <nil> true"} {
		cmd := exec.Command("sh", "-c", `echo $$ >"$1/cgroup.procs" && exec "$2"`, "sh", where, os.Args[0])
		cmd.Env = append(os.Environ(), probeVariable+"="+node)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("in %s: got %s, %v, want %s", where, out, err, want)
		}
	}
}

// Readable works for files of any type, and for missing ones.
func TestReadable(t *testing.T) {
	dir := t.TempDir()
	try(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o400))
	try(t, os.Symlink("none", filepath.Join(dir, "dangling")))
	tree, err := Open(dir, nil)
	try(t, err)
	defer tree.Close()
	for name, want := range map[string]bool{"/file": true, "/": true, "/none": false, "/dangling": false} {
		if tree.Readable(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
