package scrun

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ocishim/ocishim/internal/entry"
)

// streams are the pipes between the anchor and the processes that it starts: our end and
// their end of each.
type streams struct {
	orders, ordersIn *os.File // to the launcher: what to execute
	news, newsIn     *os.File // from the launcher
	said, saidIn     *os.File // stderr of salloc and srun
}

func newStreams() (s streams, err error) {
	for _, p := range []struct{ out, in **os.File }{{&s.ordersIn, &s.orders}, {&s.news, &s.newsIn}, {&s.said, &s.saidIn}} {
		if *p.out, *p.in, err = os.Pipe(); err != nil {
			return s, fmt.Errorf("make pipe: %w", err)
		}
	}
	return s, nil
}

// begin starts salloc with the launcher as its command. In an existing job it starts only the
// launcher.
func (a *anchor) begin() error {
	s, err := newStreams()
	if err != nil {
		return err
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	stderr := os.Stderr
	if !a.c.Terminal {
		if stderr, err = a.startRelay(); err != nil {
			return err
		}
	}
	a.prepareChild()
	a.child.Stdout, a.child.Stderr = s.saidIn, s.saidIn
	a.child.ExtraFiles = []*os.File{s.ordersIn, s.newsIn, os.Stdin, os.Stdout, stderr, self} // from launcherOrders on
	err = a.child.Start()
	for _, f := range []*os.File{s.ordersIn, s.newsIn, s.saidIn, self} {
		f.Close()
	}
	if a.relayed != nil {
		stderr.Close()
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(a.child.Path), err)
	}
	a.orders = s.orders
	a.srun.closed = make(chan struct{})
	go a.readNews(s.news)
	go a.readMessages(s.said)
	return nil
}

func (a *anchor) prepareChild() {
	launcher := fmt.Sprintf("/proc/self/fd/%d", launcherFile)
	if a.c.Foreign {
		a.child = a.c.Host.command(context.Background(), "srun") // what the launcher becomes
		a.child.Path, a.child.Args = launcher, []string{launcher, LauncherVerb}
	} else {
		args := append(a.c.Allocate, "--comment="+commentOf(a.c.Token), launcher, LauncherVerb)
		a.child = a.c.Host.command(context.Background(), "salloc", args...)
	}
	a.child.Env = append(a.child.Env, frugal...)    // for the launcher, which only starts a program
	a.child.SysProcAttr.Pdeathsig = syscall.SIGTERM // salloc gives the allocation back
}

// readNews reads the launcher's messages: that it runs in the job, and that srun has ended,
// while the allocation still exists.
func (a *anchor) readNews(from *os.File) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case newsJob:
			number, nodes, _ := strings.Cut(rest, " ")
			if !a.c.Foreign {
				a.do(func() { a.granted(number, nodes) })
			}
		case newsEnded:
			a.do(a.stepEnded)
		}
	}
}

// granted records the job. For a container, create goes on then. A process that exec adds is
// started.
func (a *anchor) granted(job, nodes string) {
	a.ready = true
	if err := a.c.update(func(r *Record) { r.Job, r.Nodes = job, nodes }); err != nil {
		a.end(exitLost)
		return
	}
	if a.c.Phase == entry.Created { // added by exec: there is nothing to wait for
		if err := a.startStep(); err != nil {
			a.send(report{Error: err.Error()})
			a.end(exitLost)
		}
		return
	}
	a.send(report{Ready: true})
}
