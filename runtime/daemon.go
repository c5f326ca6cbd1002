package runtime

import (
	"os"
	"strings"

	"github.com/ocishim/ocishim/internal/process"
)

// stepDaemon finds the slurmstepd that runs our step. slurmstepd may fork a process of the
// same name for a task, so it is the outermost of the nearest ancestors with that name.
// Once it has ended, nobody will end the container or clean up for us. The result is zero
// outside of a step.
func stepDaemon() process.ID {
	var found process.ID
	for pid := os.Getppid(); pid > 1; {
		st, err := process.ReadStat(pid)
		if err != nil {
			break
		}
		if strings.HasPrefix(st.Comm, "slurmstepd") {
			found = process.ID{Pid: pid, Start: st.Start}
		} else if found.Pid != 0 {
			break
		}
		pid = st.Parent
	}
	return found
}
