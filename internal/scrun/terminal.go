package scrun

import (
	"fmt"
	"net"
	"os"
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// offerTerminal makes a terminal, sends its master to the engine's socket, and returns the
// other end.
func offerTerminal(socket string, size *specs.Box) (*os.File, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("make terminal: %w", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("make terminal: %w", err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("make terminal: %w", err)
	}
	name := "/dev/pts/" + strconv.Itoa(number)
	if size != nil && size.Height > 0 && size.Width > 0 {
		window := &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)}
		_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, window)
	}
	tty, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("make terminal: %w", err)
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err == nil {
		_, _, err = conn.WriteMsgUnix([]byte(name), unix.UnixRights(int(master.Fd())), nil)
		_ = conn.Close()
	}
	if err != nil {
		tty.Close()
		return nil, fmt.Errorf("send terminal to the engine: %w", err)
	}
	return tty, nil
}
