package runtime

import (
	"fmt"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/types"
	"github.com/sirupsen/logrus"

	"github.com/ocishim/ocishim/internal/entry"
)

// An Event is a line of `events`, in runc's format: of type "stats", with statistics as
// its data, or "oom".
type Event = types.Event

// Stats returns what the container uses at this moment, according to its cgroup.
func (c *Container) Stats() (*Event, error) {
	lc, err := c.measurable()
	if err != nil {
		return nil, fmt.Errorf("measure container %q: %w", c.ID, err)
	}
	return c.measure(lc)
}

// measurable loads libcontainer's container, if it runs and has a cgroup.
func (c *Container) measurable() (*libcontainer.Container, error) {
	if !c.alive() {
		return nil, entry.ErrNotRunning
	}
	if c.Cgroup == CallersCgroup {
		return nil, ErrNoCgroup
	}
	lc, err := c.libcontainer()
	if err == nil && !hasCgroup(lc) {
		err = ErrNoCgroup
	}
	return lc, err
}

func (c *Container) measure(lc *libcontainer.Container) (*Event, error) {
	s, err := lc.Stats()
	if err != nil {
		return nil, fmt.Errorf("measure container %q: %w", c.ID, err)
	}
	return &Event{Type: "stats", ID: c.ID, Data: runcStats(s)}, nil
}

// Events calls emit, until the container has ended, with its use of resources at every
// interval, and whenever the kernel kills one of its processes for lack of memory.
func (c *Container) Events(interval time.Duration, emit func(*Event) error) error {
	lc, err := c.measurable()
	if err != nil {
		return fmt.Errorf("watch container %q: %w", c.ID, err)
	}
	killed, err := lc.NotifyOOM()
	if err != nil {
		logrus.Warnf("container %q: no out-of-memory events: %v", c.ID, err)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	ended := watch(c.Init)
	for {
		var e *Event
		select {
		case <-ended:
			return nil
		case _, more := <-killed:
			if !more { // the cgroup is gone
				killed = nil
				continue
			}
			e = &Event{Type: "oom", ID: c.ID}
		case <-tick.C:
			if e, err = c.measure(lc); err != nil {
				if !c.alive() {
					return nil
				}
				return err
			}
		}
		if err := emit(e); err != nil {
			return err
		}
	}
}
