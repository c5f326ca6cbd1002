package runtime

import "errors"

// Errors that callers tell apart, beside those of internal/entry and internal/stateroot;
// they come wrapped with the container's id or the path they are about.
var (
	ErrInPlace         = errors.New("it was launched in place, and has neither a supervisor nor a cgroup of its own")
	ErrNodesMounts     = errors.New("its mounts would be the node's")
	ErrNoCgroup        = errors.New("it has no cgroup of its own")
	ErrPaused          = errors.New("container is paused")
	ErrStuck           = errors.New("a process of the container cannot be killed")
	ErrElsewhere       = errors.New("its processes are of a pid namespace that cannot be seen from here")
	ErrUnknownSignal   = errors.New("unknown signal")
	ErrCommandNotFound = errors.New("command not found")
	ErrNotExecutable   = errors.New("command cannot be executed")
)
