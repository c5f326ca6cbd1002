package runtime

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// ErrMasked means that proc or sysfs may not be mounted, because the caller itself sees only
// a part of it.
var ErrMasked = errors.New("part of the caller's own is covered, so the kernel refuses a new one")

// failedMount finds the mount that libcontainer's text is about.
func failedMount(mounts []specs.Mount, err error) (specs.Mount, bool) {
	_, text, found := strings.Cut(err.Error(), "error mounting ")
	if !found {
		return specs.Mount{}, false
	}
	for _, m := range mounts {
		if strings.Contains(text, fmt.Sprintf("at %q", m.Destination)) {
			return m, true
		}
	}
	return specs.Mount{}, false
}

// reasonOfMount adds what is mounted where to the error, and what the kernel's error means
// here.
func reasonOfMount(m specs.Mount, err error) error {
	what := fmt.Sprintf("mount %s at %s", bundle.NameOf(m), m.Destination)
	switch text := err.Error(); {
	case strings.HasSuffix(text, unix.ENODEV.Error()) && !bundle.IsBind(m) && !fileSystems()[m.Type]:
		return fmt.Errorf("mount at %q: the host's kernel has no file system %q: %w", m.Destination, m.Type, unix.ENODEV)
	case strings.HasSuffix(text, unix.EPERM.Error()) && (m.Type == "proc" || m.Type == "sysfs"):
		return fmt.Errorf("%s: %w: %w", what, ErrMasked, unix.EPERM)
	case strings.HasSuffix(text, unix.EINVAL.Error()) && m.Type == "tmpfs":
		if wrong := inplace.WrongTmpfsOption(m.Options); wrong != "" {
			return fmt.Errorf("%s: option %s: %w", what, wrong, unix.EINVAL)
		}
	}
	return err
}
