package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/docker/go-units"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"
)

func updateCommand() *cli.Command {
	return &cli.Command{
		Name:      "update",
		Usage:     "change limits of a running container",
		ArgsUsage: "ID",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "resources", Aliases: []string{"r"}, Usage: "`FILE` with JSON like linux.resources in config.json, - for stdin; no other option then counts"},
			&cli.StringFlag{Name: "memory", Usage: "`BYTES` of memory, also as 64m; -1 for no limit"},
			&cli.StringFlag{Name: "memory-reservation", Usage: "`BYTES` that it keeps even when memory is short"},
			&cli.StringFlag{Name: "memory-swap", Usage: "`BYTES` of memory and swap; -1 for no limit"},
			&cli.StringFlag{Name: "kernel-memory", Usage: "accepted and ignored, with a warning: the kernel no longer has it"},
			&cli.StringFlag{Name: "kernel-memory-tcp", Usage: "accepted and ignored, with a warning: the kernel no longer has it"},
			&cli.StringFlag{Name: "cpu-period", Usage: "length of a period, in `MICROSECONDS`"},
			&cli.StringFlag{Name: "cpu-quota", Usage: "CPU time in each period, in `MICROSECONDS`"},
			&cli.StringFlag{Name: "cpu-burst", Usage: "CPU time that it may save up, in `MICROSECONDS`"},
			&cli.StringFlag{Name: "cpu-share", Usage: "CPU `WEIGHT` against other containers"},
			&cli.StringFlag{Name: "cpu-rt-period", Usage: "length of a realtime period, in `MICROSECONDS`"},
			&cli.StringFlag{Name: "cpu-rt-runtime", Usage: "realtime in each period, in `MICROSECONDS`"},
			&cli.StringFlag{Name: "cpu-idle", Usage: "1 to run only when the CPUs are otherwise idle"},
			&cli.StringFlag{Name: "cpuset-cpus", Usage: "`LIST` of CPUs"},
			&cli.StringFlag{Name: "cpuset-mems", Usage: "`LIST` of memory nodes"},
			&cli.StringFlag{Name: "blkio-weight", Usage: "`WEIGHT` of block I/O, 10 to 1000"},
			&cli.StringFlag{Name: "pids-limit", Usage: "`NUMBER` of processes; -1 for no limit"},
			&cli.StringFlag{Name: "l3-cache-schema", Usage: "`SCHEMA` of the L3 cache (Intel RDT/CAT)"},
			&cli.StringFlag{Name: "mem-bw-schema", Usage: "`SCHEMA` of memory bandwidth (Intel RDT/MBA)"},
		},
		Action: update,
	}
}

func update(c *cli.Context) error {
	switch {
	case c.Args().Len() != 1:
		return usageError{errors.New("update takes one ID")}
	case c.NumFlags() == 0:
		return usageError{errors.New("update: no option says what to change")}
	}
	resources, err := readResources(c)
	if err != nil {
		return err
	}
	container, err := findOneAsOwner(c)
	if err != nil {
		return err
	}
	return container.Update(resources, &specs.LinuxIntelRdt{
		L3CacheSchema: c.String("l3-cache-schema"), MemBwSchema: c.String("mem-bw-schema"),
	})
}

func readResources(c *cli.Context) (*specs.LinuxResources, error) {
	path := c.String("resources")
	if path == "" {
		return resourcesFromOptions(c)
	}
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read resources: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read resources: %w", err)
	}
	r := new(specs.LinuxResources)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read resources from %s: %w", path, err)
	}
	return r, nil
}

// resourcesFromOptions returns only the limits that were given: nothing else is to be changed.
func resourcesFromOptions(c *cli.Context) (*specs.LinuxResources, error) {
	r := &specs.LinuxResources{
		Memory: new(specs.LinuxMemory), CPU: new(specs.LinuxCPU), BlockIO: new(specs.LinuxBlockIO), Pids: new(specs.LinuxPids),
	}
	r.CPU.Cpus, r.CPU.Mems = c.String("cpuset-cpus"), c.String("cpuset-mems")
	return r, errors.Join(
		number(c, "memory", &r.Memory.Limit, size, aSize),
		number(c, "memory-reservation", &r.Memory.Reservation, size, aSize),
		number(c, "memory-swap", &r.Memory.Swap, size, aSize),
		number(c, "kernel-memory", &r.Memory.Kernel, size, aSize), //nolint:staticcheck // the warning is of it
		number(c, "kernel-memory-tcp", &r.Memory.KernelTCP, size, aSize),
		number(c, "cpu-period", &r.CPU.Period, unsigned, aNumber),
		number(c, "cpu-quota", &r.CPU.Quota, signed, aNumber),
		number(c, "cpu-burst", &r.CPU.Burst, unsigned, aNumber),
		number(c, "cpu-share", &r.CPU.Shares, unsigned, aNumber),
		number(c, "cpu-rt-period", &r.CPU.RealtimePeriod, unsigned, aNumber),
		number(c, "cpu-rt-runtime", &r.CPU.RealtimeRuntime, signed, aNumber),
		number(c, "cpu-idle", &r.CPU.Idle, signed, aNumber),
		number(c, "blkio-weight", &r.BlockIO.Weight, weight, "a number from 0 to 65535"),
		number(c, "pids-limit", &r.Pids.Limit, signed, "a whole number; -1 for no limit"),
	)
}

// These words describe the values of options.
const (
	aSize   = "a number of bytes, such as 67108864 or 64m, or -1 for no limit"
	aNumber = "a whole number"
)

// number reads an option if it was given. Its error says what the value must be.
func number[T any](c *cli.Context, option string, to **T, read func(string) (T, error), what string) error {
	text := c.String(option)
	if text == "" {
		return nil
	}
	value, err := read(text)
	if err != nil {
		return usageError{fmt.Errorf("--%s %q: it must be %s", option, text, what)}
	}
	*to = &value
	return nil
}

func signed(s string) (int64, error)    { return strconv.ParseInt(s, 10, 64) }
func unsigned(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }

func weight(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err
}

// size reads a number of bytes in Docker's notation; -1 means no limit.
func size(s string) (int64, error) {
	if s == "-1" {
		return -1, nil
	}
	return units.RAMInBytes(s)
}
