package scrun

import (
	"os"
	"os/exec"
	"testing"
)

func TestIsOver(t *testing.T) {
	for _, tt := range []struct {
		states []string
		want   bool
	}{
		{nil, true},
		{[]string{"RUNNING"}, false},
		{[]string{"PENDING"}, false},
		{[]string{"SUSPENDED"}, false},
		{[]string{"NODE_FAIL"}, true},
		{[]string{"COMPLETING", "CANCELLED"}, true},
		{[]string{"COMPLETED"}, true},
		{[]string{"FAILED", "COMPLETING"}, true},
	} {
		if got := isOver(tt.states); got != tt.want {
			t.Errorf("%v: %v", tt.states, got)
		}
	}
}

func TestHasChild(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !hasChild(os.Getpid()) {
		t.Error("a child that runs is none")
	}
	if hasChild(cmd.Process.Pid) {
		t.Error("sleep has a child")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if hasChild(os.Getpid()) {
		t.Error("a child that has ended is one")
	}
}
