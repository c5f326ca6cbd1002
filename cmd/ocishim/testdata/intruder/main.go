// Command intruder is a process of a container. It keeps trying to get at every process that is
// about to become another container's application, or a further process of its own container: by
// ptrace(2), and by its memory, files and directories. It prints a line for each process that it
// got at, and ends when the file that its argument names exists.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread() // a tracer is a thread
	fmt.Println("begins")
	for {
		if _, err := os.Stat(os.Args[1]); err == nil {
			return
		}
		names, err := os.ReadDir("/proc")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for _, e := range names {
			if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
				try(pid)
			}
		}
	}
}

// A way gets at a process, and returns how to leave it again, nil if it failed.
var ways = map[string]func(pid int) func(){
	"ptrace": seize,
	"mem":    opening("mem", unix.O_RDWR),
	"root":   opening("root", unix.O_PATH),
	"cwd":    opening("cwd", unix.O_PATH),
	"fd":     opening("fd/1", unix.O_PATH),
	"env":    opening("environ", unix.O_RDONLY),
	"vm":     readMemory,
	"getfd":  takeDescriptor,
}

func try(pid int) {
	if !launching(pid) {
		return
	}
	for name, way := range ways {
		leave := way(pid)
		if leave == nil {
			continue
		}
		if launching(pid) {
			fmt.Printf("got at %d, %s, by %s: %s\n", pid, read(pid, "comm"), name, capabilities(pid))
		}
		leave()
	}
}

// launching reports whether the process is still one of the runtime's.
func launching(pid int) bool {
	comm := read(pid, "comm")
	_, err := strconv.Atoi(comm) // executed by the name of a descriptor
	return err == nil || comm == "exe" || strings.HasPrefix(comm, "ocishim") || strings.HasPrefix(comm, "runc:[")
}

func read(pid int, name string) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return strings.TrimSpace(string(data))
}

func capabilities(pid int) string {
	var found []string
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, t := range threads {
		for line := range strings.Lines(read(pid, "task/"+t.Name()+"/status")) {
			if strings.HasPrefix(line, "CapEff") {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	return strings.Join(found, ", ")
}

func seize(pid int) func() {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0); errno != 0 {
		return nil
	}
	_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_INTERRUPT, uintptr(pid), 0, 0, 0, 0)
	var status unix.WaitStatus
	_, _ = unix.Wait4(pid, &status, unix.WALL, nil)
	return func() { _ = unix.PtraceDetach(pid) }
}

func opening(name string, flags int) func(int) func() {
	return func(pid int) func() {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/%s", pid, name), flags, 0)
		if err != nil {
			return nil
		}
		if name == "environ" { // a file that may be opened may still not be readable
			if n, err := unix.Read(fd, make([]byte, 16)); err != nil || n == 0 {
				_ = unix.Close(fd)
				return nil
			}
		}
		return func() { _ = unix.Close(fd) }
	}
}

func readMemory(pid int) func() {
	buffer := make([]byte, 16)
	local := []unix.Iovec{{Base: &buffer[0], Len: 16}}
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 0x400000, Len: 16}}, 0)
	if err != nil {
		return nil
	}
	return func() {}
}

func takeDescriptor(pid int) func() {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(process)
	fd, err := unix.PidfdGetfd(process, 1, 0)
	if err != nil {
		return nil
	}
	return func() { _ = unix.Close(fd) }
}
