package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Detach makes this process a daemon: it gets a session of its own, the working directory / and
// /dev/null as standard input, output and error, and closes all descriptors that it has
// inherited, except those in keep. Inherited descriptors lack close-on-exec, which Go sets on all
// that it opens. Detach sets it on those in keep.
func Detach(keep ...*os.File) error {
	if err := ownSession(); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return fmt.Errorf("leave working directory: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	kept := map[int]bool{}
	for _, f := range keep {
		fd := int(f.Fd())
		unix.CloseOnExec(fd)
		kept[fd] = true
	}
	for fd := range 3 {
		if kept[fd] {
			continue
		}
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return fmt.Errorf("replace descriptor %d: %w", fd, err)
		}
	}
	return closeInherited()
}

// ownSession makes the process a session leader, unless it is one already.
func ownSession() error {
	_, err := unix.Setsid()
	if err == nil {
		return nil
	}
	if session, e := unix.Getsid(0); e == nil && session == os.Getpid() {
		return nil
	}
	return fmt.Errorf("begin a session: %w", err)
}

func closeInherited() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 {
			continue
		}
		// A descriptor that is closed by now, such as the one of the list itself, gives an error.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	return nil
}
