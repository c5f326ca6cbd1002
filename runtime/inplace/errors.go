package inplace

import "errors"

// These errors decide about the exit status, as in a shell: 127 and 126; all others give 125.
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
