package entry

import "errors"

// Errors that callers distinguish. They are wrapped with the id of the container, or with a
// path. ErrNotFound and ErrNotRunning have runc's words: by these, containerd and Podman see
// that a container they kill has ended by itself.
var (
	ErrInvalidID    = errors.New("invalid container id")
	ErrExists       = errors.New("container already exists")
	ErrNotFound     = errors.New("container does not exist")
	ErrNotCreated   = errors.New("container is not in the created state")
	ErrNotRunning   = errors.New("container not running")
	ErrStillRunning = errors.New("container is still running")
	ErrBusy         = errors.New("container is being worked on by another process")
)

// ErrGarbage means that a file of an entry is not as we wrote it: a crash of the host, or
// somebody, has garbled it.
var ErrGarbage = errors.New("not a record")
