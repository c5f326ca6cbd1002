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
	switch os.Args[1] {
	case "pivot_root":
		err = forget(unix.BPF_JEQ, unix.SYS_PIVOT_ROOT)
	case "nfs":
		err = install(nfs())
	default:
		var first uint64
		if first, err = strconv.ParseUint(os.Args[1], 10, 32); err == nil {
			err = forget(unix.BPF_JGE, uint32(first))
		}
	}
	if err == nil {
		err = syscall.Exec(os.Args[2], os.Args[2:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "kernel:", err)
	os.Exit(1)
}

// forget hides system calls: those whose number compares so with the given one.
func forget(comparison uint16, number uint32) error {
	return install([]unix.SockFilter{
		load(number0),
		{Code: unix.BPF_JMP | comparison | unix.BPF_K, K: number, Jf: 1},
		fail(unix.ENOSYS),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	})
}

// number0 is where seccomp_data has the number of the call.
const number0 = 0

// argument is where it has the lower half of an argument, on little-endian machines.
func argument(i uint32) uint32 { return 16 + 8*i }

func load(at uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
}

func fail(errno syscall.Errno) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

// nfs refuses what a store on NFS must do without.
func nfs() (filter []unix.SockFilter) {
	refuse := func(call uint32, conditions ...unix.SockFilter) {
		filter = append(filter, load(number0), unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: uint8(len(conditions) + 1)})
		filter = append(append(filter, conditions...), fail(unix.EOPNOTSUPP))
	}
	for _, call := range []uint32{unix.SYS_FLOCK, unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_FALLOCATE} {
		refuse(call)
	}
	for _, command := range []uint32{unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_SETLK, unix.F_OFD_SETLKW} {
		refuse(unix.SYS_FCNTL, load(argument(1)), unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: command, Jf: 1})
	}
	refuse(unix.SYS_RENAMEAT2, load(argument(4)), unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jt: 1})
	refuse(unix.SYS_OPENAT, load(argument(2)), unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.O_TMPFILE &^ unix.O_DIRECTORY, Jf: 1})
	return append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
}

// install puts the filter on this thread and what it executes.
func install(filter []unix.SockFilter) error {
	runtime.LockOSThread()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
