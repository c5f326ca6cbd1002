package serve

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// mounts gives out mounts of the file system. Linux copies only mounts of the namespace that a
// thread is in. So one thread has a mount namespace with the mount that the others are copied
// from. The rest of the server stays outside: whoever is in that namespace keeps the file system
// alive.
type mounts struct {
	wanted chan chan<- given
	done   chan struct{}
}

// given is an answer: a mount that is attached nowhere, or an error.
type given struct {
	mount *os.File
	err   error
}

// mountDevice mounts the file system of the device. Without a listener there is one mount.
func mountDevice(device *os.File, o Options) (*mounts, error) {
	m := &mounts{wanted: make(chan chan<- given), done: make(chan struct{})}
	ready := make(chan error)
	onOwnThread(func() {
		mount, err := newMount(device, o)
		if err == nil && o.Listener != nil {
			err = attach(mount)
		}
		ready <- err
		if err == nil {
			m.serve(mount, o.Listener != nil)
		}
	})
	return m, <-ready
}

// serve gives away the mount itself, or copies of it until release.
func (m *mounts) serve(mount *os.File, several bool) {
	if !several {
		select {
		case <-m.done:
			mount.Close()
		case answer := <-m.wanted:
			answer <- given{mount: mount}
		}
		return
	}
	defer mount.Close()
	for {
		select {
		case <-m.done:
			return
		case answer := <-m.wanted:
			fd, err := unix.OpenTree(int(mount.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			if err != nil {
				answer <- given{err: fmt.Errorf("copy mount: %w", err)}
				continue
			}
			answer <- given{mount: os.NewFile(uintptr(fd), "mount")}
		}
	}
}

// next returns a mount for a client.
func (m *mounts) next() (*os.File, error) {
	answer := make(chan given)
	select {
	case m.wanted <- answer:
		g := <-answer
		return g.mount, g.err
	case <-m.done:
		return nil, errors.New("the tasks of the step have ended")
	}
}

// release gives up the mount to copy from. From here on the clients keep the file system alive.
func (m *mounts) release() { close(m.done) }

// onOwnThread runs f on a thread that ends with it, and with the thread its mount namespace. Go
// never ends the main thread.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		elsewhere := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(elsewhere)
			f()
		}()
		<-elsewhere
		runtime.UnlockOSThread()
	}()
}

// newMount moves this thread into a mount namespace of its own, and mounts the file system there
// (fuse(4)): attached nowhere, with the rights of files checked by the kernel. max_read stays at
// the kernel's own limit, which is the best.
func newMount(device *os.File, o Options) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return nil, fmt.Errorf("leave the host's mounts: %w", err)
	}
	fs, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount by FUSE: fsopen: %w", err)
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{
		{"source", "image"},
		{"subtype", "squashfs"},
		{"fd", fmt.Sprint(device.Fd())},
		{"rootmode", "40000"},
		{"user_id", fmt.Sprint(o.UID)},
		{"group_id", fmt.Sprint(o.GID)},
	} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return nil, fmt.Errorf("mount by FUSE: %s=%s: %w", option[0], option[1], err)
		}
	}
	for _, flag := range []string{"default_permissions", "ro"} {
		if err := unix.FsconfigSetFlag(fs, flag); err != nil {
			return nil, fmt.Errorf("mount by FUSE: %s: %w", flag, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("mount by FUSE: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("mount by FUSE: fsmount: %w", err)
	}
	return os.NewFile(uintptr(fd), "mount"), nil
}

// attach attaches the mount in this thread's mount namespace, where nobody looks.
func attach(mount *os.File) error {
	if err := unix.MoveMount(int(mount.Fd()), "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach mount: %w", err)
	}
	return nil
}
