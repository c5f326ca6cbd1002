// Command kernel executes a command without the system calls from a number on, as on a kernel
// that lacks them: from 424 on (linux/unistd.h) every architecture uses the same numbers, in
// the order in which the calls were added. Or it does so without pivot_root(2), which does not
// work if the root is a ramdisk.
//
//	kernel FIRST|pivot_root COMMAND [ARG...]
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	var err error
	if os.Args[1] == "pivot_root" {
		err = forget(unix.BPF_JEQ, unix.SYS_PIVOT_ROOT)
	} else if first, perr := strconv.ParseUint(os.Args[1], 10, 32); perr != nil {
		err = perr
	} else {
		err = forget(unix.BPF_JGE, uint32(first))
	}
	if err == nil {
		err = syscall.Exec(os.Args[2], os.Args[2:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "kernel:", err)
	os.Exit(1)
}

// forget hides system calls from this thread and what it executes: those whose number compares
// so with the given one.
func forget(comparison uint16, number uint32) error {
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | comparison | unix.BPF_K, K: number, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
