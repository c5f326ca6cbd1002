package runtime

import (
	"os"
	"strings"

	"github.com/ocishim/ocishim/internal/process"
)

// stepDaemon finds the slurmstepd that runs our step: the outermost of the
// nearest ancestors of that name, since one of its children may play the task.
// When it is gone nobody will end or clean up the container for us. Zero means
// that there is none.
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
