package serve

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The tests are this program in several roles: as root it makes a place where any user may
// open /dev/fuse, then it is the launcher, in a user namespace; that starts the server,
// mounts, and becomes the task.
const roleVariable = "OCISHIM_TEST_ROLE"

// taskUser is who the launcher is where root tests.
const taskUser = 12345

func TestMain(m *testing.M) {
	roles := map[string]func() error{
		"place": place, "launcher": launch, "server": server, "manifest": manifest, "readers": readers, "survivor": survivor,
	}
	role, found := roles[os.Getenv(roleVariable)]
	if !found {
		os.Exit(m.Run())
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, os.Getenv(roleVariable)+":", err)
		os.Exit(1)
	}
}

// place lets everybody open /dev/fuse in a mount namespace of its own, and starts the
// launcher as an ordinary user.
func place() error {
	dir := os.Args[1]
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("devices", dir, "tmpfs", 0, "")); err != nil {
		return err
	}
	node := filepath.Join(dir, "fuse")
	if err := errors.Join(unix.Mknod(node, unix.S_IFCHR, int(unix.Mkdev(10, 229))), os.Chmod(node, 0o666), unix.Mount(node, "/dev/fuse", "", unix.MS_BIND, "")); err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], os.Args[2:]...)
	cmd.Env = append(os.Environ(), roleVariable+"=launcher")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN}, Pdeathsig: unix.SIGKILL, Credential: &syscall.Credential{Uid: taskUser, Gid: taskUser, NoSetGroups: true},
		UidMappings: []syscall.SysProcIDMap{{ContainerID: taskUser, HostID: taskUser, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: taskUser, HostID: taskUser, Size: 1}},
	}
	return cmd.Run()
}

// launch does what the documentation of the package says of the launcher: its arguments are
// the image, where it is mounted, further options of the mount, and the task.
func launch() error {
	image, dir, options, task := os.Args[1], os.Args[2], os.Args[3], os.Args[4:]
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "launcher")
	file, err := os.Open(image)
	if err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=server")
	cmd.ExtraFiles = []*os.File{device, file, theirs}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	theirs.Close()
	runtime.LockOSThread()
	if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		return err
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d%s", device.Fd(), os.Getuid(), os.Getgid(), options)
	if err := unix.Mount("image", dir, "fuse.squashfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	device.Close()
	if _, err := ours.Write([]byte{1}); err != nil {
		return err
	}
	answer, err := io.ReadAll(ours)
	if err != nil || string(answer) != "ok\n" {
		return fmt.Errorf("the server: %q, %w", answer, err)
	}
	fmt.Println("server", cmd.Process.Pid)
	if task[0] != "/bin/sh" {
		os.Setenv(roleVariable, task[0])
		task[0] = os.Args[0]
	}
	// The signal is a thread's, and execve makes this one the process.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return unix.Exec(task[0], task, os.Environ())
}

func server() error {
	name := func(fd uintptr, what string) *os.File { return os.NewFile(fd, what) }
	return Run(name(3, "fuse"), name(4, "image"), name(5, "launcher"), Options{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
}

// manifest prints what there is in a directory.
func manifest() error {
	lines, err := listTree(os.Args[1])
	fmt.Println(lines)
	return err
}

// listTree says of each file below dir what it is, as a server shows what is in dir: with
// all rights of the owner. Hard links are told by the first name that has the inode.
func listTree(dir string) (string, error) {
	var lines strings.Builder
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		mode, content := stat.Mode, ""
		switch {
		case e.IsDir():
			mode |= 0o700
		case e.Type() == fs.ModeSymlink:
			content, err = os.Readlink(path)
		case e.Type().IsRegular():
			mode |= 0o600
			var data []byte
			data, err = os.ReadFile(path)
			content = fmt.Sprintf("%d %x", stat.Size, sha256.Sum256(data))
		}
		if first[stat.Ino] == "" || e.IsDir() {
			first[stat.Ino] = rel
		}
		fmt.Fprintf(&lines, "%q %o %d %d %q %s\n", rel, mode, stat.Nlink, info.ModTime().Unix(), first[stat.Ino], content)
		return err
	})
	return lines.String(), err
}

// readers reads a file as often at once as its second argument says.
func readers() error {
	count, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	sums := make(chan string)
	for range count {
		go func() {
			f, err := os.Open(os.Args[1])
			if err != nil {
				sums <- err.Error()
				return
			}
			defer f.Close()
			hash := sha256.New()
			_, err = io.Copy(hash, f)
			sums <- fmt.Sprintf("%x %v", hash.Sum(nil), err)
		}()
	}
	for range count {
		fmt.Println(<-sums)
	}
	return nil
}

// survivor waits for a line after it has opened a file, and then uses what the server had
// shown and what it had not.
func survivor() error {
	f, err := os.Open(filepath.Join(os.Args[1], "sizes", "1048593"))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	_, one := f.ReadAt(make([]byte, 1), 1<<20)
	_, two := os.Stat(filepath.Join(os.Args[1], "soft"))
	if !errors.Is(one, unix.ENOTCONN) || !errors.Is(two, unix.ENOTCONN) {
		return fmt.Errorf("%v, %v", one, two)
	}
	return nil
}
