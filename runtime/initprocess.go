package runtime

import (
	"os"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// supervisedName is what a process that supervises its container calls itself
// when it launches: libcontainer starts the container's first process as
// os.Args[0], which is the only word of ours that reaches it. After a colon follows
// the number of the descriptor for its last words.
const supervisedName = "ocishim-supervised"

// processorsVariable is how Go programs are told how many threads may work at once.
// libcontainer hands on ours to what it starts, which keeps it from the application.
const processorsVariable = "GOMAXPROCS"

// withOneProcessor calls start while our environment has what libcontainer starts work in
// one thread at a time until it becomes the application. It has one thing to do after the other; more threads
// would only look for work, which 64 tasks of a node feel.
func withOneProcessor(start func() error) error {
	if os.Getenv(processorsVariable) == "" {
		_ = os.Setenv(processorsVariable, "1") // it fails for odd names only
		defer func() { _ = os.Unsetenv(processorsVariable) }()
	}
	return start()
}

// BecomeInit makes this process the first one of a container, where it is the one that
// libcontainer started for that as `ocishim init`: it returns only in any other process. It
// must run before main: by then the C constructor has entered the namespaces.
//
// The first process of a supervised container dies with its supervisor, and
// its pid namespace with it: that way nothing outlives a supervisor that got
// SIGKILL. libcontainer's own setting does not survive its clones.
func BecomeInit() {
	becomeOdd()
	if len(os.Args) != 2 || os.Args[1] != "init" || os.Getenv("_LIBCONTAINER_INITPIPE") == "" {
		return
	}
	if name, descriptor, hears := strings.Cut(os.Args[0], ":"); name == supervisedName {
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			os.Exit(255)
		}
		if hears {
			speakTo(descriptor)
		}
	}
	libcontainer.Init()
}
