package runtime

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// Run makes the container, starts it, and waits for its end. It returns the application's
// exit status, or 128 plus the number of the signal that killed it. Signals to the caller
// are passed to the application.
//
// Nothing outlives the caller: if it is killed, the container is killed as well. In a launch
// in place the caller becomes the application, and Run does not return.
func Run(s *Store, b *bundle.Bundle, o LaunchOptions) (int, error) {
	why := WhyNotInPlace(b, o)
	if why == "" {
		return 0, runInPlace(s, b, o)
	}
	logrus.Debugf("container %q: launched by libcontainer: %s", b.ID, why)
	sup := becomeSupervisor()
	defer sup.release()
	sup.listens = true
	if err := sup.launch(s, b, o, os.Stdin, os.Stdout, os.Stderr); err != nil {
		return 0, err
	}
	if err := sup.begin(); err != nil {
		sup.stop()
		return 0, fmt.Errorf("start container %q: %w", b.ID, err)
	}
	if err := sup.l.c.runPoststart(); err != nil && !errors.Is(err, errNeverExecuted) {
		sup.stop()
		return 0, fmt.Errorf("start container %q: %w", b.ID, err)
	}
	status := sup.supervise()
	if sup.refused {
		return 0, refusal(fmt.Sprintf("start container %q", b.ID), b.Spec.Process.Args[0], sup.words.text())
	}
	return status, nil
}

// begin starts the application, and notifies whoever asked for that (NOTIFY_SOCKET).
func (sup *supervisor) begin() error {
	relay, err := sup.l.c.newRelay()
	if err != nil {
		return err
	}
	if relay != nil {
		sup.relay = relay
		go relay.pass()
	}
	if sup.l.o.Restore != nil {
		return nil // it runs already
	}
	return sup.l.lc.Exec()
}

// becomeSupervisor prepares this process to be a container's parent: it changes os.Args[0],
// see BecomeInit, and locks the thread. This thread forks, and must stay alive: the
// container gets its parent-death signal when the thread ends.
func becomeSupervisor() *supervisor {
	sup := &supervisor{signals: make(chan os.Signal, 128), caught: make(chan struct{}), ended: catchEnds()}
	goruntime.LockOSThread()
	os.Args[0] = supervisedName
	return sup
}

// catch begins to catch signals, in the background on another thread: for each signal, Go
// switches between two threads, which is slowest from a locked one. Nothing waits for it
// until the application is about to run.
func (sup *supervisor) catch() {
	go func() {
		catchSignals(sup.signals)
		close(sup.caught)
	}()
}

// launch brings the container to the created state, with the given files as its input and
// output, or connected to its terminal.
func (sup *supervisor) launch(s *Store, b *bundle.Bundle, o LaunchOptions, stdin, stdout, stderr *os.File) error {
	l, err := newLaunch(s, b, o)
	if err != nil {
		return err
	}
	sup.l = l
	l.c.Supervised = true
	defer l.c.entry.Unlock()
	if err := sup.create(stdin, stdout, stderr); err != nil {
		l.abort()
		return err
	}
	return nil
}

func (sup *supervisor) create(stdin, stdout, stderr *os.File) error {
	l := sup.l
	if err := l.prepare(); err != nil {
		return err
	}
	sup.becomeReaper()
	sup.process, sup.policy = l.process, l.o.Signals
	sup.catch()
	if l.o.Restore != nil {
		<-sup.caught // a restored application runs at once
	}
	if err := sup.hear(); err != nil {
		return err
	}
	err := sup.start(l.b.Spec.Process.Terminal, stdin, stdout, stderr, func() error {
		err := l.start()
		sup.words.leave()
		sup.app = l.c.Init
		return err
	})
	<-sup.caught
	return err
}

// hear prepares to receive the last words of the process, if our caller reports errors. A
// process that criu restores has none.
func (sup *supervisor) hear() (err error) {
	if sup.listens && (sup.l == nil || sup.l.o.Restore == nil) {
		sup.words, err = listenByName(sup.process)
	}
	return err
}

// start calls start for the process with the given files as its streams, or with a terminal
// that is connected to them.
func (sup *supervisor) start(terminal bool, stdin, stdout, stderr *os.File, start func() error) error {
	if !terminal {
		sup.process.Stdin, sup.process.Stdout, sup.process.Stderr = stdin, stdout, stderr
		return start()
	}
	t, err := newTerminal(sup.process, stdin, stdout, stderr)
	if err != nil {
		return err
	}
	sup.terminal = t
	if err := start(); err != nil {
		return err
	}
	return t.connect()
}

// stop ends a container that was created but is not to run.
func (sup *supervisor) stop() {
	_ = sup.l.c.Init.Signal(unix.SIGKILL)
	_, _ = sup.l.process.Wait()
	sup.finish(ExitLaunchFailed)
}

// finish removes what is left of the ended container, as its lifetime says. A tombstone
// stays only if its step goes on, so that somebody may ask for it. Delete may have been
// faster.
func (sup *supervisor) finish(status int) {
	c := sup.l.c
	self := c.Launcher
	err := c.lock()
	defer c.entry.Unlock()
	if err != nil || c.Launcher != self {
		// Somebody deleted the entry, and another container may have its name: leave it
		// alone, and remove only what libcontainer knows in memory.
		_ = c.destroy(sup.l.lc)
		return
	}
	if c.Lifetime == UntilDelete {
		// Its cgroup stays, for statistics.
		c.Ended, c.ExitStatus = time.Now().UTC(), status
		_ = c.write()
		return
	}
	if err := c.destroy(sup.l.lc); err != nil {
		// What is left, such as a busy cgroup, can be removed by delete.
		logrus.Debugf("container %q: %v", c.ID, err)
		c.Ended, c.ExitStatus = time.Now().UTC(), status
		_ = c.write()
		return
	}
	if c.Lifetime.leavesTombstone() && !sup.orphaned {
		_ = c.bury(status)
		return
	}
	_ = c.discard()
}
