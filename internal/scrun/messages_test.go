package scrun

import (
	"os/exec"
	"testing"

	"github.com/ocishim/ocishim/internal/entry"
)

// The messages of srun -v are copied verbatim from Slurm 24.11 and 22.05.
func TestSrunMessages(t *testing.T) {
	for version, lines := range map[string][]string{
		"24.11": {
			"srun: defined options",
			"srun: -------------------- --------------------",
			"srun: jobid 1: nodes(2):`n[1-2]', cpu counts: 1(x1)",
			"srun: launching StepId=41.3 on host n1, 2 tasks: [0,1]",
			"srun: launching StepId=41.3 on host n2, 1 tasks: 2",
			"srun: topology/default: init: topology Default plugin loaded",
			"srun: Node n1, 2 tasks started",
			"srun: Node n2, 1 tasks started",
			"srun: Received task exit notification for 1 task of StepId=41.3 (status=0x0700).",
			"srun: Received task exit notification for 2 tasks of StepId=41.3 (status=0x0000).",
			"srun: error: n1: task 0: Exited with exit code 7",
		},
		"22.05": {
			"srun: jobid 1: nodes(2):`n[1-2]', cpu counts: 1(x1)",
			"srun: launch/slurm: launch_p_step_launch: CpuBindType=(null type)",
			"srun: launching StepId=41.3 on host n1, 2 tasks: [0,1]",
			"srun: launching StepId=41.3 on host n2, 1 tasks: 2",
			"srun: route/default: init: route default plugin loaded",
			"srun: launch/slurm: _task_start: Node n1, 2 tasks started",
			"srun: launch/slurm: _task_start: Node n2, 1 tasks started",
			"srun: launch/slurm: _task_finish: Received task exit notification for 1 task of StepId=41.3 (status=0x0700).",
			"srun: launch/slurm: _task_finish: Received task exit notification for 2 tasks of StepId=41.3 (status=0x0000).",
			"srun: error: n1: task 0: Exited with exit code 7",
		},
	} {
		c, err := newStore(t).claim(Record{ID: "box", Phase: entry.Running})
		if err != nil {
			t.Fatal(err)
		}
		a := &anchor{c: c}
		startedAt := -1
		for i, line := range lines {
			a.message(line)
			if a.c.Started && startedAt < 0 {
				startedAt = i
			}
		}
		if a.c.Step != "41.3" || a.srun.tasks != 3 || a.srun.started != 3 || a.srun.exited != 3 {
			t.Errorf("%s: step %q, %+v", version, a.c.Step, a.srun)
		}
		if want := len(lines) - 4; startedAt != want {
			t.Errorf("%s: started at line %d, want %d", version, startedAt, want)
		}
	}
}

// If the kernel kills a process of a step for lack of memory, the step's own status is lost.
func TestOutOfMemory(t *testing.T) {
	for status, want := range map[string]struct {
		status  int
		failure string
	}{"00fd": {137, "job 41 ran out of memory"}, "0100": {1, ""}} {
		a := &anchor{c: &Container{Record: Record{Job: "41", Step: "41.0", Phase: entry.Running}}}
		a.srun.tasks, a.srun.started, a.c.Started = 1, 1, true
		a.message("srun: Received task exit notification for 1 task of StepId=41.0 (status=0x" + status + ").")
		got, failure := a.outcome(exec.Command("/bin/false").Run())
		if got != want.status || failure != want.failure {
			t.Errorf("%s: %d %q, want %d %q", status, got, failure, want.status, want.failure)
		}
	}
}

// salloc's messages say why there is no job.
func TestSallocMessages(t *testing.T) {
	for name, tt := range map[string]struct {
		lines     []string
		why, kind string
	}{
		"refused": {
			[]string{"salloc: error: invalid partition specified: nope", "salloc: error: Job submit/allocate failed: Invalid partition name specified"},
			"invalid partition specified: nope; Job submit/allocate failed: Invalid partition name specified", "refused",
		},
		"impossible": {
			[]string{"salloc: error: Job submit/allocate failed: Requested node configuration is not available", "salloc: Job allocation 7 has been revoked."},
			"Job submit/allocate failed: Requested node configuration is not available", "refused",
		},
		"cancelled": {
			[]string{
				"salloc: Pending job allocation 8", "salloc: job 8 queued and waiting for resources", "salloc: Job has been cancelled",
				"salloc: error: Job submit/allocate failed: Job/step already completing or completed",
			},
			"Job submit/allocate failed: Job/step already completing or completed", "cancelled",
		},
		"killed": {nil, "salloc ended without an allocation", "refused"},
	} {
		c, err := newStore(t).claim(Record{ID: "box", Phase: entry.Creating})
		if err != nil {
			t.Fatal(err)
		}
		a := &anchor{c: c}
		for _, line := range tt.lines {
			a.message(line)
		}
		if why, kind := a.whyRefused(), a.refusal("x"); why != tt.why || kind != tt.kind {
			t.Errorf("%s: %q, %s", name, why, kind)
		}
	}
}

// An update that changes nothing is allowed: both engines send some.
func TestUnchanged(t *testing.T) {
	for name, tt := range map[string]struct {
		limits map[string]any
		want   bool
	}{
		"nothing":         {map[string]any{}, true},
		"zeros":           {map[string]any{"memory": map[string]any{"limit": 0.0, "swap": 0.0}, "cpu": map[string]any{"cpus": ""}, "pids": nil}, true},
		"memory":          {map[string]any{"memory": map[string]any{"limit": 1e8}}, false},
		"cpus by name":    {map[string]any{"cpu": map[string]any{"cpus": "0-1"}}, false},
		"rules":           {map[string]any{"devices": []any{map[string]any{"allow": false}}}, false},
		"nothing in list": {map[string]any{"devices": []any{}}, true},
	} {
		if got := Unchanged(tt.limits); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Of ps's output only the lines of the step's processes are kept, whatever the columns.
func TestLinesOf(t *testing.T) {
	const out = "PID      JOBID    STEPID   LOCALID GLOBALID\n120      7        0        0       0\n121      7        0        -       -\n-1       7        extern   -       -\n\n" +
		"  PPID   PID COMMAND\n    1    12 init\n    1   120 sh\n  120   121 sleep 120\n  121  1200 other\n"
	const want = "  PPID   PID COMMAND\n    1   120 sh\n  120   121 sleep 120\n"
	if got := linesOf(out); got != want {
		t.Errorf("%q", got)
	}
}
