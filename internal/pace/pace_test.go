package pace

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestFactor(t *testing.T) {
	for _, c := range []struct {
		costs Costs
		want  float64
	}{
		{quick, 1},
		{Costs{Start: quick.Start / 2, Fault: quick.Fault / 3, Share: 1}, 1},
		{Costs{}, 1}, // nothing could be measured
		{Costs{Start: 3 * time.Millisecond, Fault: 17 * time.Microsecond, Share: 1}, 8.5},
		{Costs{Start: 5 * quick.Start, Fault: quick.Fault, Share: 0.5}, 5},
		{Costs{Start: quick.Start, Fault: quick.Fault, Share: 0.1}, 10},
	} {
		if got := c.costs.factor(); got != c.want {
			t.Errorf("%v: factor %v, want %v", c.costs, got, c.want)
		}
	}
}

// slow makes the machine appear slower from the next measurement on.
func slow(t *testing.T, factor float64) {
	t.Helper()
	before := Factor()
	t.Setenv(Variable, "")
	now.Lock()
	now.factor = factor
	now.Unlock()
	t.Cleanup(func() {
		now.Lock()
		now.factor = before
		now.Unlock()
	})
}

func TestMeasuresThisMachine(t *testing.T) {
	costs := measure()
	if costs.Start <= 0 || costs.Fault <= 0 || costs.Share <= 0 || costs.Share > 1.01 {
		t.Errorf("%+v", costs)
	}
	if s := String(); !strings.Contains(s, " ms") || !strings.Contains(s, "times as long") {
		t.Error(s)
	}
}

func TestScales(t *testing.T) {
	slow(t, 7.5)
	if got := Of(2 * time.Second); got != 15*time.Second {
		t.Errorf("Of: %v", got)
	}
	if got := Seconds(time.Second); got != "7.5" {
		t.Errorf("Seconds: %v", got)
	}
	if got := Environ(); got != Variable+"=8" {
		t.Errorf("Environ: %v", got)
	}
	if left := time.Until(Deadline(time.Minute)); left < 7*time.Minute || left > 8*time.Minute {
		t.Errorf("Deadline: in %v", left)
	}
}

// A condition that becomes true is noticed. One that does not gets its full time, which is longer
// if the machine has become slower since the wait began.
func TestWaits(t *testing.T) {
	if n := 0; !Until(time.Minute, func() bool { n++; return n == 5 }) {
		t.Error("Until does not see it")
	}
	if Until(20*time.Millisecond, func() bool { return false }) {
		t.Error("Until sees what is not so")
	}
	if n := 0; Quiet(time.Minute, func() bool { n++; return n < 5 }) {
		t.Error("Quiet does not see it")
	}
	if !Quiet(5*time.Millisecond, func() bool { return true }) {
		t.Error("Quiet sees what is not so")
	}
	select {
	case <-After(20 * time.Millisecond):
	case <-time.After(time.Minute):
		t.Error("After does not end")
	}

	ctx, cancel := Context(t.Context(), time.Minute)
	if ctx.Err() != nil {
		t.Error("ends at once")
	}
	cancel()
	if ctx.Err() == nil {
		t.Error("is not cancelled")
	}
	ctx, cancel = Context(t.Context(), 20*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ends by %v", err)
	}

	began, limit := time.Now(), 200*time.Millisecond
	b := within(limit)
	slow(t, 3*Factor())
	for b.left() > 0 {
		time.Sleep(b.left())
	}
	if took := time.Since(began); took < 3*limit {
		t.Errorf("a wait of a machine that became three times slower: %v", took)
	}
}
