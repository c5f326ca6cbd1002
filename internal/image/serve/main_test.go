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

// The tests run this program in several roles. As root it first makes a place where any user may
// open /dev/fuse. Then it is the launcher, in a user namespace, which starts the server, mounts,
// and becomes the task.
const (
	roleVariable   = "OCISHIM_TEST_ROLE"
	socketVariable = "OCISHIM_TEST_SOCKET"
)

// taskUser is the launcher's user if the tests run as root.
const taskUser = 12345

func TestMain(m *testing.M) {
	roles := map[string]func() error{
		"place": place, "launcher": launch, "server": server, "manifest": manifest, "readers": readers, "survivor": survivor,
	}
	role, found := roles[os.Getenv(roleVariable)]
	if !found {
		status := m.Run()
		if programDir != "" {
			_ = os.RemoveAll(programDir)
		}
		os.Exit(status)
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, os.Getenv(roleVariable)+":", err)
		os.Exit(1)
	}
}

// place makes a mount namespace in which everyone may open /dev/fuse, and starts the launcher as an
// ordinary user.
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

// launch does what the package's documentation requires of a launcher. Its arguments are the image,
// the mount point, how many further mounts to ask for, and the task.
func launch() error {
	image, dir, task := os.Args[1], os.Args[2], os.Args[4:]
	further, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
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
	cmd.ExtraFiles = []*os.File{file, theirs}
	name := os.Getenv(socketVariable)
	if further > 0 {
		listener, err := listen(name)
		if err != nil {
			return err
		}
		defer listener.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, listener)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	theirs.Close()
	if further < 0 {
		fmt.Println("server", cmd.Process.Pid)
		_, err := os.Stdin.Read(make([]byte, 1))
		return err
	}
	runtime.LockOSThread()
	if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		return err
	}
	if err := attachFrom(int(ours.Fd()), dir); err != nil {
		return err
	}
	for range further {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(unix.Connect(fd, &unix.SockaddrUnix{Name: name}), attachFrom(fd, dir), unix.Close(fd)); err != nil {
			return err
		}
	}
	fmt.Println("server", cmd.Process.Pid)
	if further > 0 {
		if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
			return err
		}
	}
	if task[0] != "/bin/sh" {
		if err := os.Setenv(roleVariable, task[0]); err != nil {
			return err
		}
		task[0] = os.Args[0]
	}
	// The signal is set per thread, and execve keeps only this thread.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	return unix.Exec(task[0], task, os.Environ())
}

// listen makes the socket for further clients.
func listen(name string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "listener"), errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: name}), unix.Listen(fd, 8))
}

// attachFrom attaches the mount that the server gives at the other end of the socket.
func attachFrom(socket int, dir string) error {
	data, rights := make([]byte, 512), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := unix.Recvmsg(socket, data, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil || string(data[:n]) != "ok" {
		return fmt.Errorf("the server: %q, %w", data[:n], err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("the server: no descriptor, %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	defer unix.Close(fds[0])
	return unix.MoveMount(fds[0], "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func server() error {
	o := Options{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Image: os.NewFile(3, "image"), Client: os.NewFile(4, "launcher")}
	var st unix.Stat_t
	if unix.Fstat(5, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		o.Listener = os.NewFile(5, "listener")
	}
	return Run(o)
}

// manifest prints what is in a directory.
func manifest() error {
	lines, err := listTree(os.Args[1])
	fmt.Println(lines)
	return err
}

// listTree describes each file below dir as a server would show it: with all rights of the owner.
// It describes a hard link by the first name that has the inode.
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

// readers reads a file several times at once; the second argument is the number.
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

// survivor opens a file and waits for a line. Then it uses what the server has already shown, and
// what it has not.
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
		return fmt.Errorf("what was open and what was not: %w", errors.Join(one, two))
	}
	return nil
}
