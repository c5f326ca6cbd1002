package main

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/serve"
)

// serveCommand serves an image's files. A launch executes it; people do not.
func serveCommand() *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "serve a squashfs image to a mount, until the mount is gone", Hidden: true,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "image", Required: true, Usage: "descriptor of a squashfs file"},
			&cli.IntFlag{Name: "client", Required: true, Usage: "descriptor of a socket to the launcher, which gets a mount"},
			&cli.IntFlag{Name: "listener", Usage: "descriptor of a socket at which others ask for mounts"},
			&cli.IntFlag{Name: "tasks", Usage: "how many will ask for mounts; 0 if that is not known"},
			&cli.Int64Flag{Name: "uid", Required: true, Usage: "user id that owns all files"},
			&cli.Int64Flag{Name: "gid", Required: true, Usage: "group id that owns all files"},
		},
		Action: func(c *cli.Context) error {
			if err := wants(c, 0, 0, "no argument"); err != nil {
				return err
			}
			uid, gid := c.Int64("uid"), c.Int64("gid")
			if uid < 0 || uid >= math.MaxUint32 || gid < 0 || gid >= math.MaxUint32 {
				return usageError{fmt.Errorf("--uid %d --gid %d: not valid ids", uid, gid)}
			}
			image, client, listener, err := files(c.Int("image"), c.Int("client"), c.Int("listener"))
			if err != nil {
				return usageError{err}
			}
			return serve.Run(serve.Options{
				Image: image, Client: client, Listener: listener, UID: uint32(uid), GID: uint32(gid), Tasks: c.Int("tasks"), Ignore: survived,
			})
		},
	}
}

// survived are signals by which a job is warned of its end, or told something: the application may
// want its files then.
var survived = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGVTALRM,
	unix.SIGPROF, unix.SIGIO, unix.SIGPWR, unix.SIGXCPU, unix.SIGXFSZ,
}

// files checks that each descriptor is what it should be, and returns them as files. The
// listener may be missing (0).
func files(image, client, listener int) (i, c, l *os.File, err error) {
	if image == client || listener == image || listener == client {
		return nil, nil, nil, errors.New("the same descriptor was given twice")
	}
	is := func(option string, fd int, kind uint32, what string) error {
		var st unix.Stat_t
		if fd < 3 {
			return fmt.Errorf("--%s %d: this is a standard stream", option, fd)
		}
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("--%s %d: %w", option, fd, err)
		}
		if st.Mode&unix.S_IFMT != kind {
			return fmt.Errorf("--%s %d: not %s", option, fd, what)
		}
		return nil
	}
	err = errors.Join(is("image", image, unix.S_IFREG, "a regular file"), is("client", client, unix.S_IFSOCK, "a socket"))
	if listener != 0 {
		err = errors.Join(err, is("listener", listener, unix.S_IFSOCK, "a socket"))
		l = os.NewFile(uintptr(listener), "listener")
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return os.NewFile(uintptr(image), "image"), os.NewFile(uintptr(client), "launcher"), l, nil
}
