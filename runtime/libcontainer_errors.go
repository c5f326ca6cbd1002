package runtime

import (
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// libcontainerError makes an error from libcontainer's text. If an os/exec.Error at its end
// blames the command, so does the result; otherwise doing says what failed.
func libcontainerError(doing, command string, err error) error {
	if command == ownProgram && strings.Contains(err.Error(), fmt.Sprintf("exec: %q: ", command)) {
		return fmt.Errorf("%s: arguments, variables or a directory that are not UTF-8 need a /proc in the container: %w", doing, reworded{err})
	}
	_, reason, found := strings.Cut(err.Error(), fmt.Sprintf("exec: %q: ", command))
	if !found {
		return fmt.Errorf("%s: %w", doing, reworded{err})
	}
	reason = strings.TrimPrefix(reason, "stat "+command+": ")
	sentinel := ErrCommandNotFound
	switch {
	case strings.HasPrefix(reason, unix.EACCES.Error()):
		sentinel = ErrNotExecutable
	case strings.HasPrefix(reason, unix.EISDIR.Error()):
		// execve(2) says EACCES for a directory; Docker's exit status is 126 because of these words.
		sentinel, reason = ErrNotExecutable, reason+": "+unix.EACCES.Error()
	case strings.HasPrefix(reason, unix.ELOOP.Error()):
		sentinel = ErrNotExecutable // the same as in place, and in a shell
	}
	return fmt.Errorf("execute %q: %w: %s", command, sentinel, reason)
}

// A reworded error is libcontainer's without the internal stages that it names. The caller
// says what failed; most of the text comes from another process.
type reworded struct{ error }

func (r reworded) Unwrap() error { return r.error }

// Error leaves the reason unchanged: engines match it.
func (r reworded) Error() string {
	text := r.error.Error()
	for _, stage := range []string{
		"unable to start container process: ", "error executing setns process: ",
		"error during container init: ", "error setting rlimits for ready process: ",
	} {
		text = strings.TrimPrefix(text, stage)
	}
	if _, rest, found := strings.Cut(text, "chdir to cwd ("); found {
		if dir, reason, found := strings.Cut(rest, ") set in config.json failed: "); found {
			return "enter working directory " + dir + ": " + reason
		}
	}
	return text
}

// ofMount explains an error about a mount. If the kernel lacks the mount's file system, it
// names that: libcontainer's text lacks only the type.
func ofMount(mounts []specs.Mount, err error) error {
	if m, found := failedMount(mounts, err); found {
		return reasonOfMount(m, err)
	}
	if !strings.Contains(err.Error(), unix.ENODEV.Error()) {
		return err
	}
	known := fileSystems()
	for _, m := range mounts {
		if !bundle.IsBind(m) && m.Type != "bind" && m.Type != "cgroup" && len(known) > 0 && !known[m.Type] {
			return fmt.Errorf("mount at %q: the host's kernel has no file system %q: %w", m.Destination, m.Type, unix.ENODEV)
		}
	}
	return err
}

// fileSystems returns the file systems that the kernel has at this moment. It may load
// others on demand, so one is known to be missing only after a mount has failed
// (filesystems(5)).
func fileSystems() map[string]bool {
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return nil
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 0 {
			known[fields[len(fields)-1]] = true
		}
	}
	return known
}
