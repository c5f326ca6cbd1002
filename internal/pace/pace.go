// Package pace adapts the time limits of tests to the speed and load of the machine they run
// on. It is for tests only.
//
// A test says how long something may take on a quick and idle machine, and waits for a
// condition, never for a fixed time:
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
//	pace.Pause(10*time.Millisecond) // in load that a test makes, and in a polling loop
//	pace.MoreAtOnce()               // in TestMain, if the package's tests mostly wait
//
// The costs of starting a process, of a page fault and of a piece of work are measured at
// first use. A wait that runs out measures them again, and continues if the machine has
// become slower since. So a limit may be short: slowness is not mistaken for a hang.
package pace

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Variable passes the factor, as a whole number, to the processes of a test.
const Variable = "OCISHIM_TEST_PACE"

// most is the factor above which a machine counts as broken instead of slow.
const most = 40

// looks is the number of first measurements. The worst of them counts, since other load comes and
// goes.
const looks = 4

// again is the age of a measurement after which a wait that runs out makes another.
const again = 2 * time.Second

var now struct {
	sync.Mutex
	factor   float64
	costs    Costs
	measured time.Time
}

// Factor returns how many times longer this machine needs than a quick and idle one. It is at least
// 1, and never becomes smaller.
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

// Measure measures the machine again, unless it did so a moment ago.
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

// String returns what was measured, for the log of a suite.
func String() string {
	factor := Factor()
	now.Lock()
	defer now.Unlock()
	return fmt.Sprintf("%v: tests wait %.1f times as long as on a quick and idle machine", now.costs, factor)
}

// All reports whether the long selection is asked for: the tests that `make test-all` runs in
// addition to those of `make test`.
func All() bool { return os.Getenv("OCISHIM_TEST_ALL") != "" }

// UsualSignals is for TestMain. If this process ignores a signal, because of nohup(1) or a shell's
// &, the programs under test do not.
func UsualSignals() {
	for _, n := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(n) {
			signal.Notify(make(chan os.Signal, 1), n)
		}
	}
}

// MoreAtOnce is for TestMain, before it parses flags. It makes go test run two more parallel tests
// than there are processors, because most of the package's tests wait. An explicit -parallel counts
// instead.
func MoreAtOnce() {
	if err := flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+2)); err != nil {
		panic(err) // only a test has this flag
	}
}

// Of returns the time that stands for limit on this machine.
func Of(limit time.Duration) time.Duration {
	return time.Duration(float64(limit) * Factor())
}

// Deadline returns when that time is over, from now on.
func Deadline(limit time.Duration) time.Time { return time.Now().Add(Of(limit)) }

// Seconds returns that time for timeout(1).
func Seconds(limit time.Duration) string {
	return strconv.FormatFloat(Of(limit).Seconds(), 'f', 1, 64)
}

// Environ returns the factor, rounded up, for the environment of a script.
func Environ() string {
	return fmt.Sprintf("%s=%.0f", Variable, math.Ceil(Factor()))
}

// A bound is a time limit that starts now.
type bound struct {
	start time.Time
	limit time.Duration
}

func within(limit time.Duration) bound { return bound{time.Now(), limit} }

// left returns what is left of it. If nothing is, it first measures the machine again.
func (b bound) left() time.Duration {
	if left := time.Until(b.start.Add(Of(b.limit))); left > 0 {
		return left
	}
	Measure()
	return time.Until(b.start.Add(Of(b.limit)))
}

// Until calls done until it returns true, or until the time is up. Then it returns false.
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

// Quiet reports whether still stays true for that long, and measures the machine again at the end.
// It does not see what happens later, so it is for what would happen at once.
func Quiet(limit time.Duration, still func() bool) bool {
	Measure()
	for end := Deadline(limit); still(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return true
		}
	}
	return false
}

// Context is context.WithTimeout, scaled to this machine.
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

// After returns a channel that is closed when the time is up.
func After(limit time.Duration) <-chan struct{} {
	ctx, cancel := Context(context.Background(), limit)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// Pause is for load that a test makes at chosen moments, and for polling loops: nothing may depend
// on its length.
func Pause(d time.Duration) { time.Sleep(d) }
