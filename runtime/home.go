package runtime

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
	"github.com/ocishim/ocishim/runtime/mountpoints"
)

// If config.json has no HOME, libcontainer looks for one in the container's /etc/passwd,
// whatever that is: it would wait for the writer of a fifo, and read a device without end.
// In these cases the program gets `/`, the same as a user who is not in passwd.
const homeUnknown = "HOME=/"

func hasHome(env []string) bool {
	home, _ := bundle.Getenv(env, "HOME")
	return home != ""
}

// homeAtLaunch returns the edit that sets HOME for the container's first process where
// libcontainer must not look for it.
func homeAtLaunch(b *bundle.Bundle) (bundle.Edit, error) {
	e := bundle.Edit{From: "home", Rule: "the container's /etc/passwd is not a file"}
	if hasHome(b.Spec.Process.Env) {
		return e, nil
	}
	root, err := os.OpenFile(b.RootDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return e, fmt.Errorf("open rootfs: %w", err)
	}
	defer root.Close()
	if !passwdIsFile(root, b.Spec.Mounts) {
		e.Env = []string{homeUnknown}
	}
	return e, nil
}

// passwdIsFile reports whether /etc/passwd will be a regular file, or will not exist.
func passwdIsFile(root *os.File, mounts []specs.Mount) bool {
	at, kind := mountpoints.Find(root, mounts, "/etc/passwd")
	for _, kernels := range []string{"/dev/", "/proc/", "/sys/"} {
		if strings.HasPrefix(at, kernels) {
			return false // not mounted yet, and not a regular file
		}
	}
	return kind == 0 || kind == unix.S_IFREG
}

// homeAtExec returns the environment of a process that is added. It looks at passwd as the
// running container has it, which may differ from the image's.
func homeAtExec(pid int, env []string) []string {
	if hasHome(env) {
		return env
	}
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return env
	}
	defer unix.Close(root)
	if fd, err := inplace.OpenIn(root, "/etc/passwd"); err == nil {
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && !ofProc(fd) {
			return env
		}
	}
	return append(slices.Clone(env), homeUnknown)
}

// ofProc reports whether the file is in a /proc file system, where some files block as well.
func ofProc(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC
}
