package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/runtime"
)

func checkpointCommand() *cli.Command {
	return &cli.Command{
		Name:      "checkpoint",
		Usage:     "write a running container to files, and end it",
		ArgsUsage: "ID",
		Description: "This uses criu(8), which must be installed, and needs root. `restore` makes the container\n" +
			"again from the files.",
		Flags: criuFlags(
			&cli.StringFlag{Name: "parent-path", Usage: "`DIR` of an earlier --pre-dump, relative to the image path"},
			&cli.BoolFlag{Name: "leave-running", Usage: "do not end the container"},
			&cli.BoolFlag{Name: "tcp-skip-in-flight", Usage: "leave out TCP connections that are being established"},
			&cli.BoolFlag{Name: "link-remap", Usage: "include files that are open but deleted, by linking them again"},
			&cli.IntFlag{Name: "status-fd", Value: -1, Usage: "write a zero byte to descriptor `FD` when --lazy-pages is ready"},
			&cli.StringFlag{Name: "page-server", Usage: "send memory to `ADDRESS:PORT`"},
			&cli.BoolFlag{Name: "pre-dump", Usage: "write only memory, and let the container go on; a later checkpoint takes less time"},
		),
		Action: checkpoint,
	}
}

func restoreCommand(inv *invocation) *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "make a container again from the files that checkpoint wrote",
		ArgsUsage: "ID",
		Description: "The bundle must be the same. restore waits for the container's end as run does, unless it is\n" +
			"detached.",
		Flags: append(launchFlags(
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "do not wait"},
			&cli.BoolFlag{Name: "keep", Usage: "keep the state after the end, until delete"},
			&cli.StringFlag{Name: "lsm-profile", Usage: "`TYPE:NAME` of the security profile to use instead"},
			&cli.StringFlag{Name: "lsm-mount-context", Usage: "security `CONTEXT` of mounts to use instead"},
		), criuFlags()...),
		Action: func(c *cli.Context) error { return runContainer(c, inv) },
	}
}

// criuFlags returns the flags of checkpoint and restore, plus more.
func criuFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "image-path", Value: "checkpoint", Usage: "`DIR` of the files"},
		&cli.StringFlag{Name: "work-path", Usage: "`DIR` for criu's log (default: the image path)"},
		&cli.BoolFlag{Name: "tcp-established", Usage: "include TCP connections"},
		&cli.BoolFlag{Name: "ext-unix-sk", Usage: "allow unix sockets connected to the outside"},
		&cli.BoolFlag{Name: "shell-job", Usage: "allow a terminal of the outside"},
		&cli.BoolFlag{Name: "file-locks", Usage: "include file locks"},
		&cli.BoolFlag{Name: "lazy-pages", Usage: "transfer memory when it is used (userfaultfd)"},
		&cli.StringFlag{Name: "manage-cgroups-mode", Usage: "`MODE` of cgroups: soft, full, strict or ignore"},
		&cli.StringSliceFlag{Name: "empty-ns", Usage: "make a namespace of this `TYPE` without its contents; only network is possible"},
		&cli.BoolFlag{Name: "auto-dedup", Usage: "leave out memory that an earlier image already has"},
	}, more...)
}

func checkpoint(c *cli.Context) error {
	if c.Args().Len() != 1 {
		return usageError{errors.New("checkpoint takes one ID")}
	}
	o, err := criuOptions(c)
	if err != nil {
		return err
	}
	container, err := findOneAsOwner(c)
	if err != nil {
		return err
	}
	return container.Checkpoint(o)
}

// criuOptions reads the options of checkpoint and restore for criu.
func criuOptions(c *cli.Context) (*runtime.CheckpointOptions, error) {
	o := &runtime.CheckpointOptions{
		ParentImage:             c.String("parent-path"),
		LeaveRunning:            c.Bool("leave-running"),
		TcpEstablished:          c.Bool("tcp-established"),
		TcpSkipInFlight:         c.Bool("tcp-skip-in-flight"),
		LinkRemap:               c.Bool("link-remap"),
		ExternalUnixConnections: c.Bool("ext-unix-sk"),
		ShellJob:                c.Bool("shell-job"),
		FileLocks:               c.Bool("file-locks"),
		PreDump:                 c.Bool("pre-dump"),
		AutoDedup:               c.Bool("auto-dedup"),
		LazyPages:               c.Bool("lazy-pages"),
		StatusFd:                c.Int("status-fd"),
		LsmProfile:              c.String("lsm-profile"),
		LsmMountContext:         c.String("lsm-mount-context"),
		ManageCgroupsMode:       c.String("manage-cgroups-mode"),
		EmptyNs:                 unix.CLONE_NEWNET, // the engine sets up the interfaces
	}
	if mode := o.ManageCgroupsMode; !slices.Contains([]string{"", "soft", "full", "strict", "ignore"}, mode) {
		return nil, usageError{fmt.Errorf("--manage-cgroups-mode %q: choose soft, full, strict or ignore", mode)}
	}
	for _, name := range c.StringSlice("empty-ns") {
		if name != "network" {
			return nil, usageError{fmt.Errorf("--empty-ns %q: only network is possible", name)}
		}
	}
	if filepath.IsAbs(o.ParentImage) {
		return nil, usageError{fmt.Errorf("--parent-path %q: it must be relative to --image-path", o.ParentImage)}
	}
	var err error
	if o.ImagesDirectory, err = filepath.Abs(c.String("image-path")); err != nil {
		return nil, fmt.Errorf("--image-path: %w", err)
	}
	if work := c.String("work-path"); work != "" {
		if o.WorkDirectory, err = filepath.Abs(work); err != nil {
			return nil, fmt.Errorf("--work-path: %w", err)
		}
	}
	o.PageServer, err = pageServer(c.String("page-server"))
	return o, err
}

func pageServer(option string) (runtime.CheckpointServer, error) {
	if option == "" {
		return runtime.CheckpointServer{}, nil
	}
	address, text, err := net.SplitHostPort(option)
	port, perr := strconv.ParseUint(text, 10, 16)
	if err != nil || perr != nil || address == "" {
		return runtime.CheckpointServer{}, usageError{fmt.Errorf("--page-server %q: it must be ADDRESS:PORT", option)}
	}
	return runtime.CheckpointServer{Address: address, Port: int32(port)}, nil
}
