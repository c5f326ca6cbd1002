package scrun

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// ExecOptions says how to add a process to a container.
type ExecOptions struct {
	Detach        bool
	PidFile       string
	ConsoleSocket string
	Log           Log
	Progress      func(level, message string)

	// Enter is the command that calls ocishim on the compute nodes, if it is their runtime:
	// then the process joins the container. Otherwise the process gets a container of its
	// own, with the same root and mounts.
	Enter []string
}

// Process returns the container's process, as in its bundle.
func (c *Container) Process() (*specs.Process, error) {
	spec, err := c.remoteConfig()
	if err != nil {
		return nil, err
	}
	return spec.Process, nil
}

// remoteConfig returns the configuration that the compute nodes got.
func (c *Container) remoteConfig() (*specs.Spec, error) {
	data, err := os.ReadFile(filepath.Join(c.LocalDir, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("read bundle of container %q: %w", c.ID, err)
	}
	spec := new(specs.Spec)
	if err := bundle.UnmarshalForeign(data, spec); err != nil {
		return nil, fmt.Errorf("read bundle of container %q: %w", c.ID, err)
	}
	return spec, nil
}

// Exec runs a further process, in a step that overlaps the container's step on the same
// compute node: in the container, or beside it with the same root and mounts. The process
// has an anchor of its own, which exits with its status. Unless the process is detached, Exec
// waits for that.
func (c *Container) Exec(process *specs.Process, o ExecOptions) (int, error) {
	if status := c.Status(); status != entry.Running {
		return 0, fmt.Errorf("exec in container %q: %w: it is %s", c.ID, entry.ErrNotRunning, status)
	}
	added, err := c.addProcess(process, o)
	if added == nil {
		return 0, fmt.Errorf("exec in container %q: %w", c.ID, err)
	}
	var status int
	if err == nil {
		status, err = added.runProcess(process, o)
	}
	if err != nil {
		_ = added.unstage()
		_ = added.discard()
		return 0, fmt.Errorf("exec in container %q: %w", c.ID, err)
	}
	return status, nil
}

// addProcess makes the bundle of a process, and its entry within the container's entry.
func (c *Container) addProcess(p *specs.Process, o ExecOptions) (*Container, error) {
	spec, err := c.remoteConfig()
	if err != nil {
		return nil, err
	}
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	self, err := process.Identify(os.Getpid())
	if err != nil {
		return nil, err
	}
	token := execPrefix + hex.EncodeToString(random)
	r := Record{
		ID: c.ID + "-" + token, Bundle: c.Bundle, Rootfs: c.Rootfs, Boot: process.BootID(), Numbering: process.Numbering(), Creator: self, Phase: entry.Created, Token: token,
		Foreign: true, Job: c.Job, Nodes: c.Nodes, Host: c.Host, Args: absoluteCommand(c.Rootfs, spec.Mounts, p, p.Args), Terminal: p.Terminal, Log: o.Log,
		OwnTerminal: p.Terminal && o.ConsoleSocket == "",
		LocalDir:    filepath.Join(c.LocalDir, token), Remote: filepath.Join(c.Remote, token),
		Launch: []string{"--overlap", "--nodes=1", "--ntasks=1", "--job-name=" + token[:len(execPrefix)+4]},
	}
	if node := firstNode(c.Nodes); node != "" {
		r.Launch = append(r.Launch, "--nodelist="+node)
	}
	if len(o.Enter) > 0 {
		if c.Step == "" {
			return nil, errors.New("its step is not known")
		}
		// The id in the form of oci.conf.d, for the first task on that compute node.
		r.Enter = slices.Concat(o.Enter, []string{"exec", "--in-step", "--process", filepath.Join(r.Remote, configFile), "%n.%u." + c.Step + ".0"})
		err = writeConfig(r.LocalDir, p)
	} else {
		err = c.writeSibling(r.LocalDir, spec, p)
	}
	if err != nil {
		return nil, err
	}
	added, err := (&Store{root: c.entry.Within()}).claim(r)
	if err != nil {
		return nil, err
	}
	return added, added.stageProcess()
}

// writeSibling writes a bundle like the container's, but with another process.
func (c *Container) writeSibling(dir string, spec *specs.Spec, process *specs.Process) error {
	spec.Process = process
	if !filepath.IsAbs(spec.Root.Path) {
		spec.Root.Path = filepath.Join(c.Remote, spec.Root.Path)
	}
	if err := writeConfig(dir, spec); err != nil {
		return err
	}
	if err := os.Symlink(c.Rootfs, filepath.Join(dir, remoteRoot)); err != nil {
		return fmt.Errorf("write bundle for the compute nodes: %w", err)
	}
	return nil
}

// firstNode returns the first name of a list as Slurm writes it: n1 of n[1-3,7],m5.
func firstNode(list string) string {
	var name strings.Builder
	for list != "" && list[0] != ',' {
		if list[0] != '[' {
			name.WriteByte(list[0])
			list = list[1:]
			continue
		}
		numbers, rest, _ := strings.Cut(list[1:], "]")
		number, _, _ := strings.Cut(numbers, ",")
		number, _, _ = strings.Cut(number, "-")
		name.WriteString(number)
		list = rest
	}
	return name.String()
}

// runProcess starts the anchor of a process. It waits for the end of the process, or if
// detached until it runs.
func (c *Container) runProcess(process *specs.Process, o ExecOptions) (int, error) {
	var tty *os.File
	if process.Terminal && o.ConsoleSocket != "" {
		var err error
		if tty, err = offerTerminal(o.ConsoleSocket, process.ConsoleSize); err != nil {
			return 0, err
		}
		defer tty.Close()
	} else if process.Terminal && o.Detach {
		return 0, errors.New("a terminal needs --console-socket")
	}
	cmd, parent, err := c.startAnchor(tty)
	if err != nil {
		return 0, err
	}
	defer parent.Close()
	if !o.Detach {
		go passSignals(cmd.Process)
	}
	if err := await(parent, o.Progress); err != nil {
		return 0, err
	}
	if err := writePidFile(o.PidFile, cmd.Process.Pid); err != nil {
		return 0, err
	}
	if _, err := parent.Write([]byte{'\n'}); err != nil || o.Detach {
		return 0, nil //nolint:nilerr // it has ended already; whoever reaps it gets its status
	}
	return statusOf(cmd.Wait()), nil
}

// passSignals forwards our signals to the anchor, which has a session of its own.
func passSignals(to *os.Process) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2)
	for sig := range signals {
		_ = to.Signal(sig)
	}
}

// endAdded ends the processes that exec has added: they do not outlive the container. If
// their anchor is gone, their step ends with the job.
func (c *Container) endAdded() {
	all, err := (&Store{root: c.entry.Within()}).All()
	if err != nil {
		return
	}
	for _, added := range all {
		if added.alive() {
			_ = added.end()
		}
	}
}
