package scrun

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// Start starts the container's process, and returns when it runs on its compute node.
func (c *Container) Start() error {
	if status := c.Status(); status != entry.Created {
		return fmt.Errorf("start container %q: %w: it is %s", c.ID, entry.ErrNotCreated, status)
	}
	if err := c.ask("start"); err != nil {
		return fmt.Errorf("start container %q: %w", c.ID, err)
	}
	return nil
}

// Kill sends sig to the container's process on its compute node. A container that is not
// started yet is ended by any signal that would end a process.
func (c *Container) Kill(sig unix.Signal) error {
	switch c.Status() {
	case entry.Creating, entry.Created:
		if isHarmless(sig) {
			return nil
		}
		if err := c.ask("end " + strconv.Itoa(int(sig))); err == nil {
			return nil
		}
		return c.killAnchor()
	case entry.Running, entry.Paused:
		if sig == 0 {
			return nil
		}
		return c.killStep(sig)
	}
	return fmt.Errorf("kill container %q: %w", c.ID, entry.ErrNotRunning)
}

// isHarmless reports whether the signal does not end a process by default.
func isHarmless(sig unix.Signal) bool {
	switch sig {
	case 0, unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return true
	}
	return false
}

// killStep signals the step. If the step is being launched, killStep waits for it.
func (c *Container) killStep(sig unix.Signal) error {
	for deadline := time.Now().Add(patience); c.Step == "" || !c.Started; time.Sleep(10 * time.Millisecond) {
		if err := c.reload(); err != nil {
			return err
		}
		if !c.alive() || c.Phase == entry.Stopped {
			return fmt.Errorf("kill container %q: %w", c.ID, entry.ErrNotRunning)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kill container %q: its step is not known", c.ID)
		}
	}
	if err := c.Host.signalStep(c.Step, int(sig)); err != nil {
		return fmt.Errorf("kill container %q: %w", c.ID, err)
	}
	return nil
}

// signalStep sends the signal to the tasks of the step. If the step has ended, it returns
// entry.ErrNotRunning.
func (h Host) signalStep(step string, sig int) error {
	_, err := h.output("scancel", "--quiet", "--signal="+strconv.Itoa(sig), step)
	if err != nil && (strings.Contains(err.Error(), "already completing or completed") || strings.Contains(err.Error(), "Invalid job id")) {
		return entry.ErrNotRunning
	}
	return err
}

// killAnchor kills the anchor itself; its allocation ends with it.
func (c *Container) killAnchor() error {
	if c.Boot != process.BootID() {
		return nil
	}
	here, _ := process.Locate(c.Numbering, c.Anchor)
	if err := here[0].Signal(unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill anchor of container %q: %w", c.ID, err)
	}
	return nil
}

// endPatience is how long delete waits for a container to end, before it kills the anchor.
const endPatience = 5 * time.Second

// Delete removes the container, ends its step and job, and removes staged files. If the
// container runs, it returns entry.ErrStillRunning, or with force kills it.
func (c *Container) Delete(force bool) error {
	status := c.Status()
	if status != entry.Stopped && status != entry.Created && !force {
		return fmt.Errorf("delete container %q: %w", c.ID, entry.ErrStillRunning)
	}
	if status == entry.Created {
		_ = c.stageOut() // while it has a job
	}
	if status != entry.Stopped {
		if err := c.end(); err != nil {
			return fmt.Errorf("delete container %q: %w", c.ID, err)
		}
	}
	if err := c.reload(); err != nil {
		return err
	}
	c.endAdded()
	if !c.StagedOut && (c.NodeDir != "" || len(c.StageOut) > 0) && !c.Released {
		_ = c.stageOut() // the anchor was killed; the job may still exist
	}
	if err := c.releaseJob(); err != nil {
		return fmt.Errorf("delete container %q: %w", c.ID, err)
	}
	if err := c.unstage(); err != nil {
		return fmt.Errorf("delete container %q: %w", c.ID, err)
	}
	return c.discard()
}

// end ends the container, and with it the anchor. If that fails, it kills the anchor.
func (c *Container) end() error {
	if !c.alive() {
		return nil
	}
	switch {
	case c.Phase == entry.Running && c.Step != "":
		if c.Paused {
			_ = c.Resume()
		}
		_ = c.Host.signalStep(c.Step, int(unix.SIGKILL))
	case c.Phase != entry.Running:
		_ = c.ask("end " + strconv.Itoa(int(unix.SIGKILL)))
	}
	if c.awaitEnd() {
		return nil
	}
	if err := c.killAnchor(); err != nil {
		return err
	}
	if !c.awaitEnd() {
		return fmt.Errorf("anchor %d does not end", c.Anchor.Pid)
	}
	return nil
}

func (c *Container) awaitEnd() bool {
	patient := endPatience
	if c.NodeDir != "" || len(c.StageOut) > 0 {
		patient = patience // the anchor stages out
	}
	for deadline := time.Now().Add(patient); c.alive(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// releaseJob ends the job, or the step in an existing job, if the anchor did not.
func (c *Container) releaseJob() error {
	switch {
	case c.Released:
		return nil
	case c.Foreign && c.Step == "":
		return nil
	case c.Foreign:
		err := c.Host.signalStep(c.Step, int(unix.SIGKILL))
		if errors.Is(err, entry.ErrNotRunning) {
			return nil
		}
		return err
	case c.Job != "":
		return c.Host.cancel(c.Job)
	}
	job, err := c.Host.jobOf(c.Token)
	if err != nil || job == "" {
		return err
	}
	return c.Host.cancel(job)
}

// Annotations of State that say where the container is, and what ended its job.
const (
	JobAnnotation     = "org.ocishim.job"
	StepAnnotation    = "org.ocishim.step"
	NodesAnnotation   = "org.ocishim.nodes"
	FailureAnnotation = "org.ocishim.failure"
)

// State returns the container's state at this moment.
func (c *Container) State() entry.State {
	s := entry.State{
		Version: specs.Version, ID: c.ID, Status: c.Status(), Bundle: c.Bundle, Rootfs: c.Rootfs, Created: c.Created,
		Annotations: maps.Clone(c.Annotations),
	}
	if s.Status != entry.Creating && s.Status != entry.Stopped {
		s.Pid = c.Anchor.Pid
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	for key, value := range map[string]string{
		JobAnnotation: c.Job, StepAnnotation: c.Step, NodesAnnotation: c.Nodes, FailureAnnotation: c.Failure,
	} {
		if value != "" {
			s.Annotations[key] = value
		}
	}
	return s
}

// Pids lists the container's processes on this host: its anchor.
func (c *Container) Pids() ([]int, error) {
	if s := c.Status(); s == entry.Creating || s == entry.Stopped {
		return nil, fmt.Errorf("list processes of container %q: %w", c.ID, entry.ErrNotRunning)
	}
	return []int{c.Anchor.Pid}, nil
}
