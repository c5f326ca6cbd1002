package runtime

import "errors"

// Errors that callers distinguish, in addition to those of internal/entry and
// internal/stateroot. They are wrapped with the id of the container, or with a path.
var (
	ErrInPlace         = errors.New("the container was launched in place, without a supervisor or a cgroup of its own")
	ErrNodesMounts     = errors.New("the container would share the host's mounts")
	ErrNoCgroup        = errors.New("the container has no cgroup of its own")
	ErrPaused          = errors.New("container is paused")
	ErrStuck           = errors.New("a process of the container cannot be killed")
	ErrElsewhere       = errors.New("its processes are in a pid namespace that is not visible from here")
	ErrUnknownSignal   = errors.New("unknown signal")
	ErrCommandNotFound = errors.New("command not found")
	ErrNotExecutable   = errors.New("command cannot be executed")
)
