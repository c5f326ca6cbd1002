package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A contestant is one way to run a command in a root filesystem. A verb that it does not have is
// nil: scenarios that need the verb skip the contestant.
type contestant struct {
	name    string
	program string   // a path, or a name to look for in PATH
	version []string // arguments that make it print its version, nil if it has none

	run    func(call) []string // the arguments, without the program
	create func(call) []string
	start  func(call) []string
	remove func(call) []string // arguments that remove a container that has ended

	// leaves says that run leaves an entry in the state, for Slurm to delete.
	leaves bool
}

// A call is what a contestant is asked to run, and as which user.
type call struct {
	id     string // "@" in it becomes the number of the copy
	state  string // a directory for the contestant, on a tmpfs as /run is
	bundle string // its process is /bin/true
	user   bool   // as an ordinary user
}

func (c call) rootfs() string { return filepath.Join(c.bundle, "rootfs") }

// The names of the contestants, by which they are compared.
const (
	ours      = "ocishim"
	inPlace   = "ocishim, in place"
	reference = "runc 1.5" // what our ratios refer to: built from the same libcontainer as ours
	crun      = "crun, Debian's"
	floor     = "floor, in C"
)

// contestants lists them in the order of the tables. The Makefile makes the programs in built; all
// others are Debian's.
func contestants(built string) []contestant {
	return []contestant{
		ociRuntime(ours, filepath.Join(built, "ocishim")),
		{
			name: inPlace, program: filepath.Join(built, "ocishim"),
			run: ordinary(func(c call) []string {
				return []string{"--root", c.state, "run", "--profile", "hpc", "--bundle", c.bundle, c.id}
			}),
			leaves: true,
		},
		ociRuntime(reference, filepath.Join(built, "runc")),
		ociRuntime("runc, Debian's", "runc"),
		ociRuntime(crun, "crun"),
		{
			name: "Charliecloud ch-run", program: "ch-run", version: []string{"--version"},
			run: ordinary(func(c call) []string { return []string{c.rootfs(), "--", "true"} }),
		},
		{
			name: "bubblewrap", program: "bwrap", version: []string{"--version"},
			run: func(c call) []string {
				return append(strings.Fields("--unshare-user --unshare-pid --unshare-ipc --unshare-uts --proc /proc --dev /dev --ro-bind"),
					c.rootfs(), "/", "true")
			},
		},
		{
			name: floor, program: filepath.Join(built, "floor"),
			run: func(c call) []string { return []string{c.rootfs(), "true"} },
		},
		{
			name: "Go, two starts", program: filepath.Join(built, "gofloor"),
			run: ordinary(func(call) []string { return []string{} }),
		},
		{
			name: "true, bare", program: "/bin/true",
			run: func(call) []string { return []string{} },
		},
	}
}

// ociRuntime returns a program with runc's command line.
func ociRuntime(name, program string) contestant {
	verb := func(words ...string) func(call) []string {
		return func(c call) []string {
			args := append([]string{"--root", c.state}, words...)
			if words[0] == "create" || words[0] == "run" {
				args = append(args, "--bundle", c.bundle)
			}
			return append(args, c.id)
		}
	}
	return contestant{
		name: name, program: program, version: []string{"--version"},
		run: verb("run"), create: verb("create"), start: verb("start"), remove: verb("delete"),
	}
}

// ordinary restricts a verb to ordinary users.
func ordinary(verb func(call) []string) func(call) []string {
	return func(c call) []string {
		if !c.user {
			return nil
		}
		return verb(c)
	}
}

// find makes the program's path absolute.
func (c *contestant) find() error {
	path, err := exec.LookPath(c.program)
	c.program = path
	return err
}

// describe returns the name and the version that the program prints.
func (c contestant) describe() string {
	if c.version == nil {
		return c.name
	}
	cmd := exec.Command(c.program, c.version...)
	cmd.Env = append(os.Environ(), "USER=root") // ch-run requires it
	out, _ := cmd.CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return c.name + ": " + strings.TrimSpace(line)
}
