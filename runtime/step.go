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

// stepPrefix begins the names of files in a state root that say which user
// namespace the tasks of a Slurm step share on this node. Ranks of one namespace
// can use each other's memory (process_vm_readv(2)); those of two cannot.
//
// Such a file has a line for the namespace, by inode, and one for each task that
// made or joined it, by pid, start time and pid namespace. It is locked while it is read and
// until the reader is in the namespace. Any task that lives stands for the
// namespace: there is no holder, and a task that is killed leaves nothing to undo.
// When none lives the next one begins anew.
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

// leaveStep removes the step's file when the last task of it is deleted.
func (s *Store) leaveStep(step string) {
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

// lockFile opens the file for appending, made where it is missing, and waits for
// its lock. Sweep may have removed it meanwhile.
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

// maxStep bounds what is read of a step's file, in bytes.
const maxStep = 1 << 20

// readStep reads what is known of the step: no inode when its first task was
// killed before it had made a namespace. A line that is none, by a full disk
// perhaps, is passed over. elsewhere says that there are tasks that cannot be seen from
// here, of another pid namespace.
func readStep(f *os.File) (inode uint64, members []process.ID, elsewhere bool) {
	data := make([]byte, maxStep)
	n, _ := f.ReadAt(data, 0) // what cannot be read is not known
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

// closedPatience bounds the wait for tasks that are about to become the application.
// That is a moment, unless they have startContainer hooks.
const closedPatience = 30 * time.Second

// awaitNamespace opens the user namespace by way of a task that lives in it; nil when
// none does. A task cannot be used just before it is the application: nobody may look
// into it then. Where all are in that moment, it waits.
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

// openNamespace tries the latest task first. closed says that there is one that lives,
// and cannot be used at this moment.
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
		// Looked at after the opening: the pid has been that task's all the while.
		if unix.Fstat(int(f.Fd()), &st) == nil && st.Ino == inode && p.Alive() {
			return f, false
		}
		f.Close()
	}
	return nil, closed
}

// isClosed reports whether the task is in the moment before it is the application. One that
// was killed in it keeps the name until its parent reaps it, and will never be the application.
func isClosed(p process.ID) bool {
	st, err := process.ReadStat(p.Pid)
	return err == nil && st.Start == p.Start && st.Comm == inplace.ClosedName && !st.Ended()
}

// sweepStep removes the file of a step of which no task lives.
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
