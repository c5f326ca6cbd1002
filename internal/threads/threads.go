// Package threads keeps the threads of Go's runtime from costing more than their work.
// It is for a program that lives for milliseconds, and is imported for what it does
// before main:
//
//   - A thread of Go's does nothing but look after the others (sysmon), every 20 µs at
//     first, later less often. That is a tenth of what a launch takes of the processor.
//     With more timer slack (PR_SET_TIMERSLACK of prctl(2)) it wakes up every millisecond.
//   - Each thread would map 64 MiB for a heap of C's own, and unmap as much beside it, for
//     the few bytes that cgo frees there. They share one heap (mallopt(3)).
//
// Slack is inherited, by exec too, and is nothing that a runtime should change for what
// it starts. So the main goroutine stays on the main thread, which has the slack that the
// caller gave: what starts a container, or becomes it, does so there.
package threads

// extern long ocishim_timer_slack;
import "C"

import (
	"runtime"

	"golang.org/x/sys/unix"
)

func init() {
	runtime.LockOSThread()
	if given := C.ocishim_timer_slack; given > 0 {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(given), 0, 0, 0) // no worse without
	}
}
