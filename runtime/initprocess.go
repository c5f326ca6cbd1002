package runtime

import (
	"os"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// supervisedName is the os.Args[0] of a process that supervises the container it launches.
// libcontainer starts the container's first process under this name, the only information
// from us that reaches it. After a colon follows the descriptor for its last words.
const supervisedName = "ocishim-supervised"

// processorsVariable limits how many threads of a Go program run at once. libcontainer
// passes ours to the process that it starts, which does not pass it to the application.
const processorsVariable = "GOMAXPROCS"

// withOneProcessor calls start with GOMAXPROCS=1 in our environment, so that the process
// that libcontainer starts runs one thread at a time until it becomes the application. Its
// work is sequential: further threads would only look for work, which costs time if 64
// tasks start on a host at once.
func withOneProcessor(start func() error) error {
	if os.Getenv(processorsVariable) == "" {
		_ = os.Setenv(processorsVariable, "1") // it fails for odd names only
		defer func() { _ = os.Unsetenv(processorsVariable) }()
	}
	return start()
}

// BecomeInit makes this process the first one of a container, if libcontainer started it
// for that, as `ocishim init`. It returns in any other process. It must run before main; by
// then the C constructor has entered the namespaces.
//
// The first process of a supervised container dies with its supervisor, and its pid
// namespace with it, so nothing outlives a supervisor that got SIGKILL. libcontainer can
// set the parent-death signal as well, but its setting is lost when it clones.
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
