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
			&cli.IntFlag{Name: "device", Required: true, Usage: "descriptor of /dev/fuse"},
			&cli.IntFlag{Name: "image", Required: true, Usage: "descriptor of a squashfs file"},
			&cli.IntFlag{Name: "launcher", Required: true, Usage: "descriptor of a socket to the launcher, which mounts"},
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
			device, image, launcher, err := served(c.Int("device"), c.Int("image"), c.Int("launcher"))
			if err != nil {
				return usageError{err}
			}
			return serve.Run(device, image, launcher, serve.Options{UID: uint32(uid), GID: uint32(gid)})
		},
	}
}

// fuseDevice is the number of /dev/fuse (devices.txt of Linux).
var fuseDevice = unix.Mkdev(10, 229)

// served checks that each descriptor is what it should be, and returns them as files.
func served(device, image, launcher int) (d, i, l *os.File, err error) {
	if device == image || image == launcher || device == launcher {
		return nil, nil, nil, errors.New("the same descriptor was given twice")
	}
	is := func(option string, fd int, good func(*unix.Stat_t) bool, what string) error {
		var st unix.Stat_t
		if fd < 3 {
			return fmt.Errorf("--%s %d: this is a standard stream", option, fd)
		}
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("--%s %d: %w", option, fd, err)
		}
		if !good(&st) {
			return fmt.Errorf("--%s %d: not %s", option, fd, what)
		}
		return nil
	}
	kind := func(want uint32) func(*unix.Stat_t) bool {
		return func(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == want }
	}
	err = errors.Join(
		is("device", device, func(st *unix.Stat_t) bool { return kind(unix.S_IFCHR)(st) && st.Rdev == fuseDevice }, "/dev/fuse"),
		is("image", image, kind(unix.S_IFREG), "a regular file"),
		is("launcher", launcher, kind(unix.S_IFSOCK), "a socket"),
	)
	if err != nil {
		return nil, nil, nil, err
	}
	return os.NewFile(uintptr(device), "/dev/fuse"), os.NewFile(uintptr(image), "image"), os.NewFile(uintptr(launcher), "launcher"), nil
}
