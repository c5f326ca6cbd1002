// Package threads limits what the threads of Go's runtime cost, in a program that lives for
// milliseconds. A constructor, threads.c, changes two things before Go starts:
//
//   - One thread of Go's only looks after the others (sysmon), every 20 µs at first, later
//     less often. That takes a tenth of a launch's processor time. With more timer slack
//     (PR_SET_TIMERSLACK of prctl(2)) it wakes up only every millisecond.
//   - Each thread would map 64 MiB for a heap of the C library, and unmap another 64 MiB
//     beside it, for the few bytes that cgo frees there. Instead they share one heap
//     (mallopt(3)).
//
// Timer slack is inherited, also by exec, and a runtime must not change it for what it
// starts: hence StayOnMain.
package threads

// #cgo LDFLAGS: -Wl,--wrap=abort
// extern long ocishim_timer_slack;
import "C"

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// StayOnMain restores the caller's timer slack on the main thread, and keeps the main goroutine on
// that thread: the work of starting a container, or becoming it, happens there. It must be called
// from an init function, when both are still together.
func StayOnMain() {
	runtime.LockOSThread()
	if given := C.ocishim_timer_slack; given > 0 {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(given), 0, 0, 0) // an error does no harm
	}
}
