package inplace

import "errors"

// Errors that decide about the exit status: 127, 126, and 125 for all others, as
// a shell has them.
var (
	errNotFound      = errors.New("command not found")
	errNotExecutable = errors.New("command cannot be executed")
)

func exitStatus(err error) int {
	switch {
	case errors.Is(err, errNotFound):
		return 127
	case errors.Is(err, errNotExecutable):
		return 126
	}
	return 125
}
