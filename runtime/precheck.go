package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/userns"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// What is refused here would otherwise fail later, with the container half made, and with an
// error from libcontainer or the kernel that does not name the cause.

// checkPidFile returns an error if the pid file could not be written.
func checkPidFile(path string) error {
	if path == "" {
		return nil
	}
	err := unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK)
	if err == nil {
		var p *spot
		if p, err = openDirectory(path); err == nil {
			p.close()
		}
	}
	if info, serr := os.Stat(path); err == nil && serr == nil && info.IsDir() {
		err = unix.EISDIR
	}
	if err != nil {
		return fmt.Errorf("write pid file %s: %w", path, err)
	}
	return nil
}

// checkMounts returns an error for a mount of the planned spec that cannot be made, and names
// the option that is the cause.
func checkMounts(mounts []specs.Mount) error {
	var known []string
	for _, m := range mounts {
		if err := checkIDMapping(m); err != nil {
			return fmt.Errorf("mount at %q: %w", m.Destination, err)
		}
		if m.Type == bundle.SquashfsType {
			return fmt.Errorf("mount at %q: %w", m.Destination, errSquashfs)
		}
		if !bundle.IsBind(m) {
			continue // its file system may have options of its own
		}
		if known == nil {
			known = append(specconv.KnownMountOptions(), "idmap", "ridmap")
		}
		for _, option := range m.Options {
			if !slices.Contains(known, option) {
				return fmt.Errorf("mount at %q: option %q: a bind mount takes no file system options", m.Destination, option)
			}
		}
	}
	return nil
}

// errSquashfs says that only a launch in place can mount a squashfs file.
var errSquashfs = errors.New("a squashfs file can be mounted in containers of the profile hpc only")

func checkIDMapping(m specs.Mount) error {
	mappings := len(m.UIDMappings) + len(m.GIDMappings)
	option := slices.Contains(m.Options, "idmap") || slices.Contains(m.Options, "ridmap")
	switch {
	case mappings == 0 && !option:
		return nil
	case !bundle.IsBind(m):
		return errors.New("only a bind mount can be idmapped")
	case os.Geteuid() != 0:
		return errors.New("only root can make an idmapped mount: leave out uidMappings, gidMappings, idmap and ridmap")
	case mappings > 0 && (len(m.UIDMappings) == 0 || len(m.GIDMappings) == 0):
		return errors.New("an idmapped mount needs both uidMappings and gidMappings")
	}
	return nil
}

// ErrLimit means that a limit is above what the caller may set.
var ErrLimit = errors.New("only root can raise a hard limit")

// checkRlimits returns an error for a limit that this process cannot set, for itself or for
// a child.
func checkRlimits(limits []specs.POSIXRlimit) error {
	for _, l := range limits {
		number, known := inplace.RlimitNumber(l.Type)
		var now unix.Rlimit
		if !known || unix.Prlimit(0, number, nil, &now) != nil {
			continue // setting it will fail, with an error of its own
		}
		refused := func(err error) error {
			return fmt.Errorf("set rlimit %s to %s, hard %s: %w", l.Type, limit(l.Soft), limit(l.Hard), err)
		}
		switch {
		case l.Soft > l.Hard:
			return refused(errors.New("the soft limit is above the hard one"))
		case l.Hard <= now.Max:
			continue
		case l.Type == "RLIMIT_NOFILE":
			if most := maxFiles(); most > 0 && l.Hard > most {
				return refused(fmt.Errorf("the kernel's sysctl fs.nr_open is %d: %w", most, unix.EPERM))
			}
		}
		if !mayRaiseLimits() {
			return refused(fmt.Errorf("%w: the caller's is %s: %w", ErrLimit, limit(now.Max), unix.EPERM))
		}
	}
	return nil
}

// limit formats a limit for messages.
func limit(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// maxFiles returns the maximum of RLIMIT_NOFILE for everybody, 0 if it is unknown.
func maxFiles() uint64 {
	data, err := os.ReadFile("/proc/sys/fs/nr_open")
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	return n
}

// mayRaiseLimits reports whether this process has CAP_SYS_RESOURCE on the host. In a user
// namespace the capability does not count (setrlimit(2)).
func mayRaiseLimits() bool {
	var data [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return true // the kernel decides
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0 && !userns.RunningInUserNS()
}
