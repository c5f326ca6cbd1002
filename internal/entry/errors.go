package entry

import "errors"

// Errors that callers tell apart; they come wrapped with the container's id or the path
// they are about. ErrNotFound and ErrNotRunning are in runc's words: containerd and Podman
// look for these to know that a container they kill has ended by itself.
var (
	ErrInvalidID    = errors.New("invalid container id")
	ErrExists       = errors.New("container already exists")
	ErrNotFound     = errors.New("container does not exist")
	ErrNotCreated   = errors.New("container is not in the created state")
	ErrNotRunning   = errors.New("container not running")
	ErrStillRunning = errors.New("container is still running")
	ErrBusy         = errors.New("container is being worked on by another process")
)

// ErrGarbage says that a file of an entry is none that we wrote: what a crash of the
// machine, or somebody's hand, made of it.
var ErrGarbage = errors.New("not a record")
