package process

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// initNumbering is the inode of the host's first pid namespace (PROC_PID_INIT_INO of the kernel's
// proc_ns.h). A process in it sees every process.
const initNumbering = 0xEFFFFFFC

// Numbering returns the pid namespace that this process's pids belong to, by its inode; 0 if /proc
// does not show it. Within one boot, two namespaces that exist have different inodes.
var Numbering = sync.OnceValue(func() uint64 {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0
	}
	return st.Ino
})

// searchPatience limits the total time that this process searches /proc. The numbers may be made
// up, with another namespace for each of thousands.
const searchPatience = 10 * time.Second

var searched atomic.Int64 // nanoseconds

// Locate finds the pids here of processes of another pid namespace, in the order of the ids. A
// process that has ended becomes ID{Pid: -1}. sure is false if the processes cannot be seen from
// here, since only namespaces below ours can, or if the search has taken too long.
func Locate(numbering uint64, ids ...ID) (here []ID, sure bool) {
	if numbering == 0 || numbering == Numbering() {
		return ids, true
	}
	if time.Duration(searched.Load()) > searchPatience {
		return ids, false
	}
	began := time.Now()
	defer func() { searched.Add(int64(time.Since(began))) }()
	here = slices.Clone(ids)
	inside := processesOf(numbering)
	for i, id := range ids {
		if id.Pid == 0 {
			continue
		}
		here[i] = ID{Pid: -1}
		for _, p := range inside {
			if p.inner == id.Pid && p.Start == id.Start {
				here[i] = p.ID
			}
		}
	}
	return here, len(inside) > 0 || Numbering() == initNumbering
}

// A numbered process has another pid in its own namespace than here.
type numbered struct {
	ID
	inner int
}

// processesOf lists the processes of a pid namespace and of those below it, as far as they can be
// seen.
func processesOf(numbering uint64) []numbered {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []numbered
	for _, e := range names {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		inner := innerPid(pid, numbering)
		if id, err := Identify(pid); err == nil && inner != 0 {
			found = append(found, numbered{id, inner})
		}
	}
	return found
}

// innerPid returns the pid of the process in the pid namespace; 0 if it is not in that namespace or
// one below it (proc(5), NSpid: from our namespace down to its own).
func innerPid(pid int, numbering uint64) int {
	pids := pidsOf(pid)
	if len(pids) < 2 {
		return 0
	}
	ns, err := os.Open("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	for i := len(pids) - 1; i > 0 && err == nil; i-- {
		var st unix.Stat_t
		if err = unix.Fstat(int(ns.Fd()), &st); err == nil && st.Ino == numbering {
			ns.Close()
			inner, _ := strconv.Atoi(pids[i])
			return inner
		}
		var parent int
		parent, err = unix.IoctlRetInt(int(ns.Fd()), unix.NS_GET_PARENT)
		ns.Close()
		ns = os.NewFile(uintptr(parent), "pid namespace")
	}
	if err == nil {
		ns.Close()
	}
	return 0
}

func pidsOf(pid int) []string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		if value, found := strings.CutPrefix(line, "NSpid:"); found {
			return strings.Fields(value)
		}
	}
	return nil
}
