package scrun

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lookAfterBundle ends a container that was not started, and of which the bundle is
// gone: the engine that asked for it was killed while it waited for the job, and has
// removed the container since. Nobody else knows of it.
func (a *anchor) lookAfterBundle() {
	if !a.launch.IsZero() || a.c.isAdded() || a.ended {
		return
	}
	if _, err := os.Lstat(filepath.Join(a.c.Bundle, configFile)); errors.Is(err, fs.ErrNotExist) {
		a.unwanted = true
		a.end(exitLost)
	}
}

// withdrawOn has the anchor withdraw the request for a job when a signal says that
// nobody waits for it any more. What it returns ends that, and tells the signal.
func withdrawOn(anchor *os.File) (stop func() os.Signal) {
	signals, done, got := make(chan os.Signal, 1), make(chan struct{}), make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	go func() {
		select {
		case sig := <-signals:
			got <- sig
			_ = unix.Shutdown(int(anchor.Fd()), unix.SHUT_RDWR) // to both it looks as if the other had gone
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
