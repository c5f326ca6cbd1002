package runtime

import (
	"maps"
	"os"
	"path/filepath"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// OutputAnnotation names, in a container's state, the file with its output, if create's
// caller took none.
const OutputAnnotation = "org.ocishim.output"

// State returns the container's state at this moment.
func (c *Container) State() entry.State {
	s := entry.State{
		Version:     specs.Version,
		ID:          c.ID,
		Status:      c.Status(),
		Bundle:      c.Bundle,
		Rootfs:      c.Rootfs,
		Created:     c.Created,
		Annotations: maps.Clone(c.Annotations),
	}
	if s.Status != entry.Creating && s.Status != entry.Stopped && !c.elsewhere {
		s.Pid = c.Init.Pid
	}
	if c.Output != "" {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[OutputAnnotation] = c.Output
	}
	return s
}

// Status works out the state from the record and the processes it names.
func (c *Container) Status() entry.Status { return c.status(c.libcontainer) }

// status is Status for a caller that loads libcontainer's state as well.
func (c *Container) status(load func() (*libcontainer.Container, error)) entry.Status {
	switch {
	case c.launching():
		return entry.Creating
	case !c.alive():
		return entry.Stopped
	case c.paused(load):
		return entry.Paused
	case c.waiting():
		return entry.Created
	}
	return entry.Running
}

// waiting reports whether the first process still waits for start. libcontainer removes its
// fifo at start, unless it is killed in between, so the name of the process counts as well.
func (c *Container) waiting() bool {
	if _, err := os.Lstat(filepath.Join(c.libcontainerState(), "exec.fifo")); err != nil {
		return false
	}
	st, err := process.ReadStat(c.Init.Pid)
	return err == nil && st.Comm == launchName
}
