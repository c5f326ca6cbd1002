package runtime

import (
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/process"
)

// OutputAnnotation names, in a container's state, the file with the output of
// one for which create's caller had no place.
const OutputAnnotation = "org.ocishim.output"

// Status is the state of a container as the runtime specification names it
// (runtime.md, State).
type Status string

// The states of runtime.md.
const (
	Creating Status = "creating"
	Created  Status = "created"
	Running  Status = "running"
	Stopped  Status = "stopped"
	Paused   Status = "paused" // runc's, and every engine's
)

// State is runtime.md's state, with what runc adds to it.
type State struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"` // 0 when there is no process
	Status      Status            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"` // user name, set by who prints it
}

// State is the container's state at this moment.
func (c *Container) State() State {
	s := State{
		Version:     specs.Version,
		ID:          c.ID,
		Status:      c.Status(),
		Bundle:      c.Bundle,
		Rootfs:      c.Rootfs,
		Created:     c.Created,
		Annotations: maps.Clone(c.Annotations),
	}
	if s.Status != Creating && s.Status != Stopped && !c.elsewhere {
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
func (c *Container) Status() Status {
	switch {
	case c.launching():
		return Creating
	case !c.alive():
		return Stopped
	case c.paused():
		return Paused
	case c.waiting():
		return Created
	}
	return Running
}

// waiting tells whether the first process still waits for start: libcontainer
// removes its fifo when it goes on, unless whoever started it is killed first.
func (c *Container) waiting() bool {
	if _, err := os.Lstat(filepath.Join(c.libcontainerState(), "exec.fifo")); err != nil {
		return false
	}
	st, err := process.ReadStat(c.Init.Pid)
	return err == nil && st.Comm == launchName
}
