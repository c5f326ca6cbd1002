package runtime

import (
	"os/exec"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// A task that is killed just before it becomes the application does not make the other tasks
// of its step wait until it is reaped.
func TestKilledTaskIsNotClosed(t *testing.T) {
	task := exec.Command("sh", "-c", "printf "+inplace.ClosedName+" >/proc/$$/comm && read wait")
	stdin, err := task.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close(); _ = task.Wait() }()
	id, err := process.Identify(task.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if !pace.Until(10*time.Second, func() bool { return isClosed(id) }) {
		t.Fatal("a task that is closed is not found to be")
	}
	if err := task.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if !pace.Until(10*time.Second, func() bool { return !isClosed(id) }) {
		t.Error("a zombie counts as a task that is about to start its program")
	}
}
