package scrun

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lookAfterBundle ends a container that was not started and whose bundle is gone: the engine
// was killed while it waited for the job, and has removed its container since. Nobody else
// knows about the job.
func (a *anchor) lookAfterBundle() {
	if !a.launch.IsZero() || a.c.isAdded() || a.ended {
		return
	}
	if _, err := os.Lstat(filepath.Join(a.c.Bundle, configFile)); errors.Is(err, fs.ErrNotExist) {
		a.unwanted = true
		a.end(exitLost)
	}
}

// withdrawOn makes the anchor withdraw the request for a job when we get a signal to end. The
// function that it returns stops this, and returns the signal, or nil.
func withdrawOn(anchor *os.File) (stop func() os.Signal) {
	signals, done, got := make(chan os.Signal, 1), make(chan struct{}), make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	go func() {
		select {
		case sig := <-signals:
			got <- sig
			_ = unix.Shutdown(int(anchor.Fd()), unix.SHUT_RDWR) // to both ends it looks as if the other were gone
		case <-done:
			select {
			case sig := <-signals:
				got <- sig
			default:
				got <- nil
			}
		}
	}()
	return func() os.Signal {
		signal.Stop(signals)
		close(done)
		return <-got
	}
}
