package scrun

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ocishim/ocishim/internal/entry"
)

// finish records how the container ended, after the end of salloc: by then the allocation is
// released.
func (a *anchor) finish(waited error) int {
	a.drain()
	close(a.over)
	_ = a.c.reload()
	a.c.endAdded()
	status, failure := a.status, ""
	if !a.ended {
		status, failure = a.outcome(waited)
	}
	if !a.c.Foreign && a.c.Job != "" && (wasKilled(waited) || a.ended) {
		_ = a.c.Host.cancel(a.c.Job) // salloc has not released it
	}
	if failure != "" && a.c.Phase != entry.Creating { // otherwise create reports it
		a.log("error", failure)
		fmt.Fprintf(os.Stderr, "ocishim: error: %s\n", failure)
	}
	for _, conn := range a.waiting {
		reply(conn, errors.New(failureOr(failure, "the container ended before it ran")))
	}
	a.leave(status, failure)
	return status
}

// leave reports how the container ended to a waiting verb, and records it or removes the
// entry.
func (a *anchor) leave(status int, failure string) {
	switch {
	case a.unwanted && a.parent == nil, a.c.Phase == entry.Creating && a.parent == nil: // create was killed
		_ = a.c.unstage()
		_ = a.c.discard()
	case a.c.Phase == entry.Creating && a.unwanted:
		a.send(report{Error: "its bundle is gone"})
	case a.c.Phase == entry.Creating:
		a.send(report{Error: failureOr(failure, "the container was ended"), Kind: a.refusal(failure)})
	case a.c.isAdded():
		a.send(report{Error: failureOr(failure, "the process ended before it ran")})
		_ = a.c.unstage()
		_ = a.c.discard()
	default:
		_ = a.c.update(func(r *Record) {
			r.Phase, r.ExitStatus, r.Failure, r.Released = entry.Stopped, status, failure, true
		})
	}
}

func failureOr(failure, otherwise string) string {
	if failure != "" {
		return failure
	}
	return otherwise
}

// drain handles srun's last messages, and pending events. It waits at most a second, since a
// process of srun's may keep a pipe open.
func (a *anchor) drain() {
	late := time.After(time.Second)
	for _, end := range []chan struct{}{a.srun.closed, a.relayed} {
		for open := end != nil; open; {
			select {
			case event := <-a.events:
				event()
			case <-end:
				open = false
			case <-late:
				return
			}
		}
	}
	for len(a.events) > 0 {
		(<-a.events)()
	}
}
