// Command looks prints what a process finds around it, as a JSON object of words, for two
// containers to be compared.
//
//	looks PATH...
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var seen = map[string]string{}

// The kernel does not show the timer slack of another thread.
func init() { runtime.LockOSThread() }

func main() {
	status := statusFields()
	seen["umask"] = status["Umask"]
	seen["uid"], seen["gid"] = status["Uid"], status["Gid"]
	groups := strings.Fields(status["Groups"])
	slices.Sort(groups)
	seen["groups"] = strings.Join(groups, " ")
	for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd", "NoNewPrivs", "Seccomp", "SigIgn", "SigBlk", "Cpus_allowed_list", "NSpid"} {
		seen[strings.ToLower(name)] = status[name]
	}
	if len(strings.Fields(status["NSpid"])) > 0 {
		seen["nspid"] = strconv.Itoa(len(strings.Fields(status["NSpid"])))
	}
	seen["processors"] = status["Cpus_allowed_list"]
	delete(seen, "cpus_allowed_list")
	seen["cwd"], _ = os.Getwd()
	seen["args"] = fmt.Sprintf("%q", os.Args[1:])
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		seen["env "+name] = fmt.Sprintf("%q", value)
	}
	for i, name := range strings.Fields("cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime") {
		var limit unix.Rlimit
		_ = unix.Prlimit(0, i, nil, &limit)
		seen["limit "+name] = fmt.Sprintf("%d %d", limit.Cur, limit.Max)
	}
	for _, file := range []string{"oom_score_adj", "uid_map", "gid_map", "setgroups", "cgroup", "timerslack_ns", "personality", "sessionid"} {
		seen[file] = words("/proc/self/" + file)
	}
	priority, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
	seen["priority"] = strconv.Itoa(priority)
	for _, kind := range []string{"pid", "ipc", "net", "uts", "cgroup", "time"} {
		seen["namespace "+kind], _ = os.Readlink("/proc/self/ns/" + kind)
	}
	for _, name := range []string{"kernel/hostname", "kernel/domainname", "kernel/shmmax", "kernel/msgmax", "fs/mqueue/queues_max", "net/ipv4/ip_forward"} {
		seen["sysctl "+name] = words("/proc/sys/" + name)
	}
	descriptors()
	mounts()
	for _, path := range append(os.Args[1:], "/", "/proc", "/sys", "/dev", "/tmp", "/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/shm", "/dev/pts", "/dev/ptmx", "/dev/console") {
		look(path)
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		os.Exit(1)
	}
}

func statusFields() map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text("/proc/self/status")) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

func text(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func words(path string) string { return strings.Join(strings.Fields(text(path)), " ") }

// descriptors prints those that were open before this call.
func descriptors() {
	var open []string
	for fd := range 64 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			to, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
			if !strings.Contains(to, "eventpoll") && !strings.Contains(to, "eventfd") {
				open = append(open, strconv.Itoa(fd))
			}
		}
	}
	seen["descriptors"] = strings.Join(open, " ")
}

// mounts prints the visible mounts, the topmost at each point, with source and options. The order
// of the lines is the order of mounting, and means nothing.
func mounts() {
	type line struct{ id, text string }
	at := map[string][]line{}
	below := map[string]bool{} // by PARENT POINT
	for text := range strings.Lines(text("/proc/self/mountinfo")) {
		fields := strings.Fields(text)
		at[fields[4]] = append(at[fields[4]], line{fields[0], text})
		below[fields[1]+" "+fields[4]] = true
	}
	for point, lines := range at {
		for _, l := range lines {
			if !below[l.id+" "+point] {
				seen["mount "+point] = mountOf(l.text)
			}
		}
	}
}

// mountOf returns the source of a mount, and what it is.
func mountOf(line string) string {
	before, after, _ := strings.Cut(line, " - ")
	fields, of := strings.Fields(before), strings.Fields(after)
	options := strings.Split(fields[5], ",")
	slices.Sort(options)
	shared := ""
	for _, field := range fields[6:] {
		name, _, _ := strings.Cut(field, ":")
		if name == "shared" || name == "unbindable" {
			shared += " " + name
		}
	}
	super := ""
	if of[0] == "tmpfs" {
		super = " " + of[2]
	}
	return fields[3] + "|" + of[0] + " " + strings.Join(options, ",") + shared + super
}

// look prints what is at the path.
func look(path string) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		seen["path "+path] = err.Error()
		return
	}
	found := fmt.Sprintf("%o", st.Mode)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if st.Size < 1<<20 {
			found += fmt.Sprintf(" %x", sha256.Sum256([]byte(text(path))))
		}
	case unix.S_IFCHR:
		found += fmt.Sprintf(" %d", st.Rdev)
	case unix.S_IFDIR:
		if path != "/dev" && path != "/proc" && path != "/tmp" && path != "/dev/pts" && path != "/dev/shm" {
			names, _ := filepath.Glob(path + "/*")
			found += fmt.Sprintf(" %q", names)
		}
	}
	seen["path "+path] = found
	seen["may write "+path] = strconv.FormatBool(unix.Access(path, unix.W_OK) == nil)
}
