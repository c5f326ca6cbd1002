package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A place is where everything is measured: a directory that the ordinary user can reach, in a mount
// namespace of our own. It contains bin/ (what the Makefile built), state/ (a tmpfs, as /run is),
// root/bundle and user/bundle.
type place struct {
	dir  string
	user ordinaryUser
}

// An ordinaryUser is the user for the scenarios without root.
type ordinaryUser struct {
	name     string
	uid, gid uint32
}

func (u ordinaryUser) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.uid, Gid: u.gid, Groups: []uint32{u.gid}}}
}

func findUser(name string) (ordinaryUser, error) {
	found, err := user.Lookup(name)
	if err != nil {
		return ordinaryUser{}, err
	}
	uid, uerr := strconv.ParseUint(found.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(found.Gid, 10, 32)
	return ordinaryUser{name, uint32(uid), uint32(gid)}, errors.Join(uerr, gerr)
}

// prepare fills the directory with the programs of repo.
func prepare(dir, repo string) (place, error) {
	u, err := findUser("nobody")
	if err != nil {
		return place{}, err
	}
	p := place{dir, u}
	if err := p.mounts(); err != nil {
		return place{}, err
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		return place{}, err
	}
	for _, program := range []string{"bin/ocishim", "yardsticks/runc", "yardsticks/sample", "yardsticks/floor", "yardsticks/gofloor"} {
		data, err := os.ReadFile(filepath.Join(repo, "build", program))
		if err != nil {
			return place{}, err
		}
		if err := install(filepath.Join(dir, "bin", filepath.Base(program)), data); err != nil {
			return place{}, err
		}
	}
	return p, errors.Join(p.bundle(repo, false), p.bundle(repo, true))
}

// install writes a program to disk, and drops it from the page cache: it is then read again like an
// installed one. The pages of a file that was just written differ in size from one time to the
// next, which changes the time of a runtime that copies its own program by 4 %.
func install(path string, program []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = f.Write(program)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	return errors.Join(err, f.Close())
}

// mounts makes the tmpfs for the states, and unmounts a second, empty cgroup hierarchy beside those
// of version 1, since crun does not work with both.
func (p place) mounts() error {
	const second = "/sys/fs/cgroup/unified"
	if err := syscall.Unmount(second, 0); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("unmount %s: %w", second, err)
	}
	state := filepath.Join(p.dir, "state")
	if err := os.Mkdir(state, 0o755); err != nil {
		return err
	}
	return syscall.Mount("tmpfs", state, "tmpfs", 0, "mode=1777")
}

// bundle makes hack/bundle create a bundle whose process is /bin/true: for the user with the
// mappings of `runc spec --rootless`, which runc needs.
func (p place) bundle(repo string, ofUser bool) error {
	script, err := os.ReadFile(filepath.Join(repo, "hack", "bundle"))
	if err != nil {
		return err
	}
	parent, args := filepath.Join(p.dir, "root"), []string{"-c", string(script), "bundle"}
	if ofUser {
		parent = filepath.Join(p.dir, "user")
		args = append(args, "--map", fmt.Sprintf("%d:%d", p.user.uid, p.user.gid))
	}
	if err := os.Mkdir(parent, 0o755); err != nil {
		return err
	}
	if ofUser {
		if err := os.Chown(parent, int(p.user.uid), int(p.user.gid)); err != nil {
			return err
		}
	}
	dir := filepath.Join(parent, "bundle")
	if out, err := p.command(ofUser, "/bin/bash", append(args, dir)...).CombinedOutput(); err != nil {
		return fmt.Errorf("make bundle: %w: %s", err, out)
	}
	config := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	return os.WriteFile(config, []byte(strings.Replace(string(data), `"args": ["sh"]`, `"args": ["true"]`, 1)), 0o644)
}

// inOwnNamespace runs this program again, in a mount namespace of its own, with a new directory
// that is removed when it has ended.
func inOwnNamespace(args []string) error {
	dir, err := os.MkdirTemp("", "ocishim-bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), placeVariable+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd.Run()
}

// placeVariable passes the directory on.
const placeVariable = "OCISHIM_BENCH_PLACE"
