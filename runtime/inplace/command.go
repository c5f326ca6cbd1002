package inplace

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// find looks the command up as execvp(3) does, in the container, with the application's rights. If
// it finds only a file that may not be executed, it returns that error, which is the more useful
// one.
func (t *Task) find() (string, error) {
	name := t.Args[0]
	if strings.Contains(name, "/") {
		if err := executable(name); err != nil {
			return "", commandError(name, err)
		}
		return name, nil
	}
	refused := error(unix.ENOENT)
	for _, dir := range strings.Split(searchPath(t.Env), ":") {
		candidate := path.Join("/", dir, name)
		if dir == "" {
			candidate = path.Join(t.Cwd, name)
		}
		err := executable(candidate)
		if err == nil {
			return candidate, nil
		}
		if !absent(err) {
			refused = err
		}
	}
	if absent(refused) {
		return "", fmt.Errorf("execute %q: %w: executable file not found in $PATH", name, errNotFound)
	}
	return "", commandError(name, refused)
}

func searchPath(env []string) string {
	if dirs, found := bundle.Getenv(env, "PATH"); found {
		return dirs
	}
	return "/bin:/usr/bin" // the default of execvp(3)
}

// executable reports, as an error, why the file cannot be executed, without executing it.
func executable(file string) error {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errIsDirectory
	}
	return unix.Access(file, unix.X_OK)
}

var errIsDirectory = errors.New("is a directory")

// refusal returns the error for a command that was found and that execve refused.
func refusal(name string, err error) error {
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("execute %q: %w: the interpreter of the script, or the loader of the program, does not exist in the container: %w",
			name, errNotFound, err)
	}
	return fmt.Errorf("execute %q: %w: %w", name, errNotExecutable, err)
}

func commandError(name string, err error) error {
	if absent(err) {
		return fmt.Errorf("execute %q: %w: %w", name, errNotFound, err)
	}
	return fmt.Errorf("execute %q: %w: %w", name, errNotExecutable, err)
}
