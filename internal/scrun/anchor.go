package scrun

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	goruntime "runtime"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// exitLost is the anchor's status if the container has none: the job ended before the
// container did, or before it was started.
const exitLost = 125

// syncFile is the descriptor of the connection between an anchor and the verb that started
// it.
const syncFile = 3

// A report is a line from the anchor to the verb that started it.
type report struct {
	Level   string `json:"level,omitempty"` // of a message for the log
	Message string `json:"message,omitempty"`
	Ready   bool   `json:"ready,omitempty"` // the allocation is granted; for exec: the process runs
	Error   string `json:"error,omitempty"`
	Kind    string `json:"kind,omitempty"` // of the error: refused or cancelled
}

// An anchor is the process that represents a container on the engine's host. It is the
// parent of salloc, and exits with the container's status. All of its methods run in one
// goroutine.
type anchor struct {
	c      *Container
	parent *os.File      // the verb; nil after it has released us
	events chan func()   // run one after the other
	over   chan struct{} // closed when events are no longer run

	child   *exec.Cmd     // salloc, or in an existing job the launcher
	orders  *os.File      // to the launcher: what to execute
	said    []string      // salloc's messages before the allocation
	relayed chan struct{} // closed when all of stderr is passed on; nil with a terminal
	waiting []net.Conn
	srun    srunMessages
	launch  time.Time
	ready   bool // the allocation is granted
	ended   bool // we end the container ourselves, with our own status
	status  int
	lonely  int // how many times in a row salloc was found without its command

	unwanted bool // the engine has removed the container
}

// BecomeAnchor makes this process the anchor of the container with its entry in dir, and
// returns the exit status. If the engine expects a network namespace, the anchor gets one of
// its own. The calling goroutine must be on the first thread.
func BecomeAnchor(dir string) int {
	goruntime.LockOSThread() // before the namespace: no other thread gets it
	unix.CloseOnExec(syncFile)
	a := &anchor{
		parent: os.NewFile(syncFile, "parent"), events: make(chan func(), 16), over: make(chan struct{}),
	}
	a.c = &Container{entry: entry.At(dir)}
	if err := a.c.read(); err != nil {
		a.send(report{Error: err.Error()})
		return exitLost
	}
	if a.c.Network && unix.Gettid() == unix.Getpid() {
		_ = unix.Unshare(unix.CLONE_NEWNET) // for engines that look for it at /proc/PID/ns/net
	}
	status := make(chan int)
	go func() { status <- a.live() }()
	return <-status
}

// live runs the anchor to its end.
func (a *anchor) live() int {
	self, err := process.Identify(os.Getpid())
	if err == nil {
		err = a.c.update(func(r *Record) { r.Anchor = self })
	}
	if err == nil {
		err = a.listen()
	}
	if err == nil {
		err = a.begin()
	}
	if err != nil {
		a.send(report{Error: err.Error()})
		return exitLost
	}
	go a.watchParent()
	go a.watchSignals()
	end := make(chan error, 1)
	go func() { end <- a.child.Wait() }()
	if a.c.Foreign {
		a.granted(a.c.Job, a.c.Nodes)
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	quiet := time.NewTimer(quietTime)
	defer quiet.Stop()
	for {
		select {
		case event := <-a.events:
			event()
			quiet.Reset(quietTime)
		case <-quiet.C:
			slim()
		case <-look.C:
			a.lookAfterSalloc()
			a.lookAfterBundle()
		case err := <-end:
			return a.finish(err)
		}
	}
}

// quietTime is how long nothing must have happened before an anchor releases memory: it then
// waits for a job, for start, or for the end, perhaps for days.
const quietTime = 200 * time.Millisecond

// do runs the event in the anchor's own goroutine.
func (a *anchor) do(event func()) {
	select {
	case a.events <- event:
	case <-a.over:
	}
}

func (a *anchor) send(r report) {
	if a.parent == nil {
		return
	}
	data, err := bundle.Marshal(r)
	if err == nil {
		_, _ = a.parent.Write(append(data, '\n'))
	}
}

// watchParent waits until the verb that started the anchor releases it. If the verb ends
// without doing so, nobody wants the container any more.
func (a *anchor) watchParent() {
	word := make([]byte, 1)
	n, err := a.parent.Read(word)
	a.do(func() {
		a.parent.Close()
		a.parent = nil
		if n == 0 || err != nil {
			a.end(exitLost)
		}
	})
}

// watchSignals treats signals to the anchor as signals to the container.
func (a *anchor) watchSignals() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2)
	for sig := range signals {
		number, _ := sig.(syscall.Signal)
		a.do(func() { a.signalled(number) })
	}
}

func (a *anchor) signalled(sig syscall.Signal) {
	switch {
	case a.launch.IsZero():
		a.end(128 + int(sig))
	case a.c.Step != "":
		step, h := a.c.Step, a.c.Host
		go func() { _ = h.signalStep(step, int(sig)) }()
	}
}

// end ends the allocation of a container that does not run yet, or no longer.
func (a *anchor) end(status int) {
	if a.ended {
		return
	}
	a.ended, a.status = true, status
	if a.ready && a.c.reload() == nil && !a.c.isAdded() {
		_ = a.c.stageOut() // while it has a job
	}
	if a.ready && a.launch.IsZero() {
		_, _ = a.orders.WriteString("\n") // the launcher ends, and salloc with it
	} else {
		_ = a.child.Process.Signal(unix.SIGTERM) // salloc withdraws its request; srun ends exec's process
	}
	a.orders.Close()
	time.AfterFunc(endPatience, func() { _ = a.child.Process.Kill() })
}

// startStep makes the launcher execute srun.
func (a *anchor) startStep() error {
	if !a.launch.IsZero() || a.ended {
		return entry.ErrNotCreated
	}
	if err := a.c.update(func(r *Record) { r.Phase = entry.Running }); err != nil {
		return err
	}
	o := order{
		Args: a.c.srunArgs(), Terminal: a.c.Terminal && !a.c.OwnTerminal, Own: a.c.OwnTerminal,
		Stay: a.c.NodeDir != "" || len(a.c.StageOut) > 0,
	}
	data, err := bundle.Marshal(o)
	if err != nil {
		return err
	}
	if _, err := a.orders.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("start srun: %w", err)
	}
	a.launch = time.Now()
	if !o.Stay {
		a.orders.Close()
	}
	return nil
}

// stepEnded stages out while the job still exists, and then ends the allocation.
func (a *anchor) stepEnded() {
	if err := a.c.stageOut(); err != nil {
		a.log("error", err.Error())
	}
	a.orders.Close()
}

// log sends a message to the verb, or writes it to the engine's log once we are released.
func (a *anchor) log(level, message string) {
	if a.parent != nil {
		a.send(report{Level: level, Message: message})
		return
	}
	a.c.Log.write(level, message)
}

// isAdded reports whether the record is of a process that exec added.
func (r *Record) isAdded() bool { return r.Launch != nil && strings.HasPrefix(r.Token, execPrefix) }

// hasNetwork reports whether the engine expects the container's first process to be in a new
// network namespace.
func hasNetwork(spec *specs.Spec) bool {
	if spec.Linux == nil {
		return false
	}
	for _, n := range spec.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace {
			return n.Path == ""
		}
	}
	return false
}

// execPrefix begins the token of a process that exec added.
const execPrefix = "exec-"
