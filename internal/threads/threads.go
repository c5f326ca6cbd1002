// Package threads keeps the threads of Go's runtime from costing more than their work, in
// a program that lives for milliseconds. Before Go starts a constructor, threads.c, sees
// to two things:
//
//   - A thread of Go's does nothing but look after the others (sysmon), every 20 µs at
//     first, later less often. That is a tenth of what a launch takes of the processor.
//     With more timer slack (PR_SET_TIMERSLACK of prctl(2)) it wakes up every millisecond.
//   - Each thread would map 64 MiB for a heap of C's own, and unmap as much beside it, for
//     the few bytes that cgo frees there. They share one heap (mallopt(3)).
//
// Slack is inherited, by exec too, and is nothing that a runtime should change for what
// it starts: hence StayOnMain.
package threads

// #cgo LDFLAGS: -Wl,--wrap=abort
// extern long ocishim_timer_slack;
import "C"

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// StayOnMain gives the main thread the slack that the caller gave this process, and keeps
// the main goroutine on it: what starts a container, or becomes it, does so there. It must
// be called from an init function, in which they are together.
func StayOnMain() {
	runtime.LockOSThread()
	if given := C.ocishim_timer_slack; given > 0 {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(given), 0, 0, 0) // no worse without
	}
}
