package pace

import (
	"fmt"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Costs are the costs of what tests spend most of their time with. They are wall-clock times, so
// they include the load of other programs.
type Costs struct {
	Start time.Duration // of a process, until its end is noticed
	Fault time.Duration // of a page
	Share float64       // of a processor that a thread with work to do gets, up to 1
}

// quick is the limit for a quick machine.
var quick = Costs{Start: time.Millisecond, Fault: 2 * time.Microsecond, Share: 1}

func (c Costs) String() string {
	return fmt.Sprintf("a process's start costs %.1f ms, a page fault %.1f µs, a thread gets %.0f %% of a processor",
		c.Start.Seconds()*1e3, c.Fault.Seconds()*1e6, c.Share*100)
}

// factor returns how many times slower than quick the machine is, at least 1. The slowest cost
// decides, since a wait can depend on any of them.
func (c Costs) factor() float64 {
	factor := max(1, float64(c.Start)/float64(quick.Start), float64(c.Fault)/float64(quick.Fault))
	if c.Share > 0 {
		factor = max(factor, quick.Share/c.Share)
	}
	return factor
}

// measure takes a twentieth of a second on a quick machine. A cost that cannot be measured here
// does not count.
func measure() Costs {
	return Costs{Start: startCost(), Fault: faultCost(), Share: share()}
}

func startCost() time.Duration {
	const starts = 10
	program, err := exec.LookPath("true")
	if err != nil {
		return 0
	}
	began := time.Now()
	for range starts {
		if err := exec.Command(program).Run(); err != nil {
			return 0
		}
	}
	return time.Since(began) / starts
}

func faultCost() time.Duration {
	const pages = 4096
	size := unix.Getpagesize()
	memory, err := unix.Mmap(-1, 0, pages*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Munmap(memory) }()
	_ = unix.Madvise(memory, unix.MADV_NOHUGEPAGE) // an old kernel lacks it
	began := time.Now()
	for i := 0; i < len(memory); i += size {
		memory[i] = 1
	}
	return time.Since(began) / pages
}

// share returns how much of a processor this thread gets while it works.
func share() float64 {
	const work = 20 * time.Millisecond
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, before := time.Now(), processorTime()
	used := time.Duration(0)
	for used < work && time.Since(began) < 100*work {
		used = processorTime() - before
	}
	return float64(used) / float64(max(time.Since(began), 1))
}

// processorTime returns the processor time that this thread has used.
func processorTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
