package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// stepPrefix begins the names of files in a state root that say which user namespace the
// tasks of a Slurm step share on this host. Ranks in the same namespace can access each
// other's memory (process_vm_readv(2)); ranks in different ones cannot.
//
// Such a file has a line with the inode of the namespace, and a line for each task that made
// or joined it: pid, start time and pid namespace. A reader keeps it locked until it is in
// the namespace. Nobody holds the namespace open: it is joined by way of any task that is
// alive, so a killed task leaves nothing to undo. If no task is alive, the next one makes a
// new namespace.
const stepPrefix = ".ocishim-step-"

// namespaceOf finds the user namespace for a task of the step, to join or to make.
// The caller closes it, unless it becomes the task.
func (s *Store) namespaceOf(step string, self process.ID) (inplace.Namespace, error) {
	path, err := s.stepFile(step)
	if err != nil {
		return inplace.Namespace{}, err
	}
	f, err := lockFile(path)
	if err != nil {
		return inplace.Namespace{}, fmt.Errorf("find user namespace of step %s: %w", step, err)
	}
	ns, err := findNamespace(f, self)
	if err != nil {
		f.Close()
		return inplace.Namespace{}, fmt.Errorf("find user namespace of step %s: %w", step, err)
	}
	return ns, nil
}

func (s *Store) stepFile(step string) (string, error) {
	name, err := entry.Name(step)
	if err != nil {
		return "", err
	}
	return s.root.File(stepPrefix + name), nil
}

// leaveStep removes the step's files if no task of the step is alive.
func (s *Store) leaveStep(step string) {
	s.leaveImages(step)
	if path, err := s.stepFile(step); err == nil {
		sweepStep(path)
	}
}

func findNamespace(f *os.File, self process.ID) (inplace.Namespace, error) {
	inode, members, _ := readStep(f)
	join, err := awaitNamespace(inode, members)
	if err != nil {
		return inplace.Namespace{}, err
	}
	ns := inplace.Namespace{Step: f, Join: join}
	if ns.Join == nil {
		if err := f.Truncate(0); err != nil {
			return inplace.Namespace{}, err
		}
	}
	if _, err := fmt.Fprintf(f, "%d %d %d\n", self.Pid, self.Start, process.Numbering()); err != nil {
		return inplace.Namespace{}, err
	}
	return ns, nil
}

// lockFile opens the file for appending, creates it if it does not exist, and waits for its
// lock. It starts over if Sweep removes the file in the meantime.
func lockFile(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if entry.HasName(f, path) {
			return f, nil
		}
		f.Close()
	}
}

// maxStep is how many bytes of a step's file are read at most.
const maxStep = 1 << 20

// readStep reads the step's file. There is no inode if the first task was killed before it
// had made a namespace. Malformed lines, which a full disk may cause, are skipped. elsewhere
// reports whether there are tasks in a pid namespace that is not visible from here.
func readStep(f *os.File) (inode uint64, members []process.ID, elsewhere bool) {
	data := make([]byte, maxStep)
	n, _ := f.ReadAt(data, 0) // an unreadable file is like an empty one
	for line := range strings.Lines(string(data[:n])) {
		if text, found := strings.CutPrefix(line, inplace.UserNamespaceLine); found {
			inode, _ = strconv.ParseUint(strings.TrimSpace(text), 10, 64)
			continue
		}
		var p process.ID
		var numbering uint64
		if n, _ := fmt.Sscanf(line, "%d %d %d", &p.Pid, &p.Start, &numbering); n < 2 {
			continue
		}
		here, sure := process.Locate(numbering, p)
		if elsewhere = elsewhere || !sure; sure {
			members = append(members, here[0])
		}
	}
	return inode, members, elsewhere
}

// closedPatience is how long to wait for tasks that are about to become the application.
// They do so in a moment, unless they have startContainer hooks.
const closedPatience = 30 * time.Second

// awaitNamespace opens the user namespace by way of a living task in it, if there is one;
// otherwise it returns nil. Just before a task becomes the application, nobody may inspect
// it. If all tasks are in that phase, awaitNamespace waits.
func awaitNamespace(inode uint64, members []process.ID) (*os.File, error) {
	if inode == 0 {
		return nil, nil
	}
	for deadline := time.Now().Add(closedPatience); ; time.Sleep(200 * time.Microsecond) {
		f, closed := openNamespace(inode, members)
		if f != nil || !closed {
			return f, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("its other tasks have not started their programs within %v", closedPatience)
		}
	}
}

// openNamespace opens the user namespace by way of a task, the latest first. closed reports
// whether there is a living task that cannot be used at this moment.
func openNamespace(inode uint64, members []process.ID) (ns *os.File, closed bool) {
	for _, p := range slices.Backward(members) {
		name := "/proc/" + strconv.Itoa(p.Pid) + "/ns/user"
		f, err := os.Open(name)
		if errors.Is(err, os.ErrPermission) {
			closed = closed || isClosed(p)
			f, err = os.Open(name) // it may have become the application in between
		}
		if err != nil {
			continue
		}
		var st unix.Stat_t
		// Checked after opening: so the pid was still that task's then.
		if unix.Fstat(int(f.Fd()), &st) == nil && st.Ino == inode && p.Alive() {
			return f, false
		}
		f.Close()
	}
	return nil, closed
}

// isClosed reports whether the task is about to become the application. A task that was
// killed at that point keeps the name until it is reaped, but does not count.
func isClosed(p process.ID) bool {
	st, err := process.ReadStat(p.Pid)
	return err == nil && st.Start == p.Start && st.Comm == inplace.ClosedName && !st.Ended()
}

// sweepStep removes the step's file if no task of the step is alive.
func sweepStep(path string) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || !entry.HasName(f, path) {
		return
	}
	_, members, elsewhere := readStep(f)
	if elsewhere || slices.ContainsFunc(members, process.ID.Alive) {
		return
	}
	_ = os.Remove(path)
}
