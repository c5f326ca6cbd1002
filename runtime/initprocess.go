package runtime

import (
	"os"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// supervisedName is what a process that supervises its container calls itself
// when it launches: libcontainer starts the container's first process as
// os.Args[0], which is the only word of ours that reaches it.
const supervisedName = "ocishim-supervised"

// InitProcess is the entry point of a container's first process, which
// libcontainer starts as `ocishim init`. It must run before main: by then the
// C constructor has entered the namespaces. It returns only in any other
// process.
//
// The first process of a supervised container dies with its supervisor, and
// its pid namespace with it: that way nothing outlives a supervisor that got
// SIGKILL. libcontainer's own setting does not survive its clones.
func InitProcess() {
	if len(os.Args) != 2 || os.Args[1] != "init" || os.Getenv("_LIBCONTAINER_INITPIPE") == "" {
		return
	}
	if os.Args[0] == supervisedName {
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			os.Exit(255)
		}
	}
	libcontainer.Init()
}
