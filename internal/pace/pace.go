// Package pace fits the time that tests give something to the machine they run on, and
// to what else runs there. It is for tests only.
//
// A test says how long something may take on a quick and idle machine, and waits for
// a condition, never for a fixed time:
//
//	pace.Until(10*time.Second, func() bool { return exists(path) })        // polls
//	ctx, cancel := pace.Context(t.Context(), 10*time.Second)               // for commands
//	select { case <-done: case <-pace.After(10*time.Second): t.Fatal(...)} // for channels
//	conn.SetDeadline(pace.Deadline(10*time.Second))
//	pace.Of(10*time.Second)                 // to compare with: how long it may take here
//	"timeout "+pace.Seconds(10*time.Second) // in a shell's script
//	cmd.Env = append(cmd.Env, pace.Environ())
//	    // then in the script: for i in $(seq $((100 * OCISHIM_TEST_PACE))); do ...; sleep 0.1; done
//	pace.Quiet(50*time.Millisecond, func() bool { return !happened() })    // nothing happens
//	pace.Pause(10*time.Millisecond) // of a load that a test makes, and of a loop that polls
//
// What a process's start, a page fault and a piece of work cost is measured at first use.
// A wait that runs out measures again, and goes on where the machine has become slower
// since. So a bound may be short: what is slow is not taken for what hangs.
package pace

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Variable hands the factor, as a whole number, to the processes of a test.
const Variable = "OCISHIM_TEST_PACE"

// most is where a machine counts as broken instead of slow.
const most = 40

// looks are taken at first, and the worst counts: what else runs comes and goes.
const looks = 4

// again is how old a measurement is before a wait that runs out makes another.
const again = 2 * time.Second

var now struct {
	sync.Mutex
	factor   float64
	costs    Costs
	measured time.Time
}

// Factor is how many times longer than a quick and idle machine this one needs. It is 1
// at least, and never becomes smaller.
func Factor() float64 {
	now.Lock()
	defer now.Unlock()
	if now.measured.IsZero() {
		now.factor = 1
		if given, err := strconv.ParseFloat(os.Getenv(Variable), 64); err == nil {
			now.factor = min(max(given, 1), most)
		}
		for range looks {
			measureLocked()
			time.Sleep(20 * time.Millisecond)
		}
	}
	return now.factor
}

// Measure looks at the machine again, unless it did a moment ago.
func Measure() {
	now.Lock()
	defer now.Unlock()
	if time.Since(now.measured) > again {
		measureLocked()
	}
}

func measureLocked() {
	costs := measure()
	now.measured = time.Now()
	if factor := min(costs.factor(), most); factor > now.factor || now.costs == (Costs{}) {
		now.factor, now.costs = max(factor, now.factor), costs
	}
}

// String says what was measured, for the log of a suite.
func String() string {
	factor := Factor()
	now.Lock()
	defer now.Unlock()
	return fmt.Sprintf("%v: tests wait %.1f times as long as on a quick and idle machine", now.costs, factor)
}

// All reports whether the long selection is asked for: what `make test-all` runs beside what
// `make test` does.
func All() bool { return os.Getenv("OCISHIM_TEST_ALL") != "" }

// UsualSignals is for TestMain: what this process was told to ignore, by nohup(1) or a
// shell's &, the programs that it tests do not ignore.
func UsualSignals() {
	for _, n := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(n) {
			signal.Notify(make(chan os.Signal, 1), n)
		}
	}
}

// Of is the time that is limit on a quick and idle machine.
func Of(limit time.Duration) time.Duration {
	return time.Duration(float64(limit) * Factor())
}

// Deadline is when that time is over, from now on.
func Deadline(limit time.Duration) time.Time { return time.Now().Add(Of(limit)) }

// Seconds is that time for timeout(1).
func Seconds(limit time.Duration) string {
	return strconv.FormatFloat(Of(limit).Seconds(), 'f', 1, 64)
}

// Environ is the factor for the environment of a script, rounded up.
func Environ() string {
	return fmt.Sprintf("%s=%.0f", Variable, math.Ceil(Factor()))
}

// A bound is a limit from its start on.
type bound struct {
	start time.Time
	limit time.Duration
}

func within(limit time.Duration) bound { return bound{time.Now(), limit} }

// left is what is left of it, after a look at the machine where nothing is.
func (b bound) left() time.Duration {
	if left := time.Until(b.start.Add(Of(b.limit))); left > 0 {
		return left
	}
	Measure()
	return time.Until(b.start.Add(Of(b.limit)))
}

// Until calls done until it is true, or the time is up: then it is false.
func Until(limit time.Duration, done func() bool) bool {
	b := within(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if done() {
			return true
		}
		if b.left() <= 0 {
			return done()
		}
		time.Sleep(pause)
	}
}

// Quiet looks whether still stays true so long, after a look at the machine. It cannot see
// what happens later, so it is for what would happen at once.
func Quiet(limit time.Duration, still func() bool) bool {
	Measure()
	for end := Deadline(limit); still(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return true
		}
	}
	return false
}

// Context is context.WithTimeout by the pace of this machine.
func Context(parent context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	b := within(limit)
	go func() {
		for left := b.left(); left > 0; left = b.left() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(left):
			}
		}
		cancel(context.DeadlineExceeded)
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// After is closed when the time is up.
func After(limit time.Duration) <-chan struct{} {
	ctx, cancel := Context(context.Background(), limit)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// Pause is for a load that a test makes at moments of its choice, and between two looks
// at something that is waited for: nothing may depend on its length.
func Pause(d time.Duration) { time.Sleep(d) }
