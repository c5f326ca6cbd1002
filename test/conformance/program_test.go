//go:build integration

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// programLimit is several times what the slowest program takes, on a quick machine.
const programLimit = 90 * time.Second

// outcome is the result of one program on one runtime.
type outcome struct {
	verdict
	runtime, program string
	stdout, stderr   []byte
	took             time.Duration
}

// races are programs that start two things at the same time and expect one of them to be first.
// Each runtime has a few tries.
var races = []string{"killsig", "poststart"}

// chance is a race that every runtime usually loses: its result means nothing.
const chance = "pidfile"

// settle runs a program, and a race until it passes.
func settle(runtime, program string) outcome {
	out := run(runtime, program)
	for try := 1; try < 4 && !out.passes() && slices.Contains(races, program); try++ {
		out = run(runtime, program)
	}
	return out
}

// run runs a program on a runtime, in a cell of its own: all programs use the same cgroups, and
// some leave containers behind.
func run(runtime, program string) outcome {
	start := time.Now()
	limit := pace.Of(programLimit)
	ctx, cancel := pace.Context(context.Background(), limit+30*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(repo, "hack", "cell"), "conformance-"+runtime+"-"+program,
		strconv.Itoa(int(limit.Seconds())), "./programs/"+program)
	cmd.Dir = suiteDir
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"RUNTIME=/run/here/" + runtime,
	}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// The cell enforces the time limit itself, and cleans up afterwards. It must be able to do so
	// even if we are killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pace.Of(10 * time.Second)
	err := cmd.Run()
	out := outcome{runtime: runtime, program: program, stdout: stdout.Bytes(), stderr: stderr.Bytes(), took: time.Since(start)}
	if cmd.ProcessState == nil {
		out.verdict = verdict{exit: -1, complaint: err.Error()}
		return out
	}
	out.verdict = judge(program, cmd.ProcessState.ExitCode(), out.stdout)
	return out
}

// log returns what to look at after a failure.
func (o outcome) log() string {
	return fmt.Sprintf("---- %s, %s: %s\n%s%s", o.runtime, o.program, o.verdict, failures(o.stdout), o.stderr)
}
