package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// A process of a pid namespace below ours, or of one below that, is found by its number in the
// upper one of them. One that has ended is known to have ended. For one that cannot be seen the
// answer is not sure.
func TestLocate(t *testing.T) {
	own := ID{Pid: os.Getpid()}
	if here, sure := Locate(Numbering(), own); !sure || here[0] != own {
		t.Errorf("our own: %v, %v", here, sure)
	}
	options := []string{"--pid", "--fork", "--mount-proc", "--kill-child"}
	if os.Getuid() != 0 {
		options = append(options, "--user", "--map-root-user")
	}
	cmd := exec.Command("unshare", append(options, "sh", "-c", `unshare --pid --fork sleep 600 &
		while ! pid=$(pgrep -x sleep); do :; done
		stat -Lc %i /proc/self/ns/pid; echo $pid; cut -d ' ' -f 22 /proc/$pid/stat; wait`)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var numbering uint64
	var inner ID
	lines := bufio.NewReader(out)
	for _, to := range []any{&numbering, &inner.Pid, &inner.Start} {
		if _, err := fmt.Fscanln(lines, to); err != nil {
			t.Fatal(err)
		}
	}
	ended := ID{Pid: inner.Pid, Start: inner.Start + 1}
	here, sure := Locate(numbering, inner, ended, ID{})
	if !sure || !here[0].Alive() || here[0].Start != inner.Start || here[1].Alive() || here[2] != (ID{}) {
		t.Errorf("below ours: %v, %v", here, sure)
	}
	if st, err := ReadStat(here[0].Pid); err != nil || st.Comm != "sleep" {
		t.Errorf("it is %v, %v", st, err)
	}
}
