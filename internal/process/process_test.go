package process

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// An ID matches its process while that runs, and no other process with its pid.
func TestID(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p, err := Identify(cmd.Process.Pid)
	if err != nil || !p.Alive() {
		t.Fatalf("%+v, %v", p, err)
	}
	other := ID{Pid: p.Pid, Start: p.Start + 1}
	if other.Alive() || (ID{}).Alive() || (ID{Pid: -1}).Alive() {
		t.Error("another process is taken for it")
	}
	if err := other.Signal(unix.SIGKILL); !errors.Is(err, unix.ESRCH) {
		t.Errorf("signal to another: %v", err)
	}
	st, err := ReadStat(p.Pid)
	if err != nil || st.Parent != os.Getpid() || st.Start != p.Start || st.Ended() {
		t.Errorf("%+v, %v", st, err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Error(err)
	}
	if p.Alive() {
		t.Error("it is dead, and lives")
	}
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, unix.ESRCH) {
		t.Errorf("signal to a dead one: %v", err)
	}
	if _, err := Identify(1 << 30); err == nil {
		t.Error("no process has that pid")
	}
}

func TestBootID(t *testing.T) {
	if id := BootID(); len(id) != 36 {
		t.Errorf("%q", id)
	}
}
