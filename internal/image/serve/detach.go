package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Detach makes this process one that nobody waits for and that holds nothing: with a
// session of its own, at the root directory, with /dev/null as standard input, output and
// error, and without the descriptors that it has inherited, those of keep excepted. What
// was inherited is known by its lacking close-on-exec, which Go gives to all it opens;
// those that are kept get it.
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
		// What is closed meanwhile, such as the list's own, has no flags.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
	return nil
}
