package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
	"github.com/ocishim/ocishim/runtime/mountpoints"
)

// ErrNoSource means that the source of a bind mount does not exist.
var ErrNoSource = errors.New("its source cannot be mounted")

// checkSources returns an error for a bind mount without a source, before anything is made:
// later the error would be about the mount point. It returns the sources that are
// directories.
func checkSources(mounts []specs.Mount) (dirs map[string]bool, err error) {
	dirs = map[string]bool{}
	for _, m := range mounts {
		if !bundle.IsBind(m) {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(m.Source, &st); err != nil {
			return nil, fmt.Errorf("mount at %q: %w: %s: %w", m.Destination, ErrNoSource, m.Source, err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			dirs[m.Source] = true
		}
	}
	return dirs, nil
}

// A locked is the state that unlockable works with.
type locked struct {
	newUserns bool
	dirs      map[string]bool   // the sources that are directories
	text      []byte            // of our mountinfo
	mounts    []*mountinfo.Info // the same, parsed when first needed
}

// unlockable changes the bind mounts that the kernel would refuse in a user namespace,
// because they would undo restrictions that are locked there:
//
//   - It leaves out options that undo a restriction of the source, such as rw for a read-only
//     file system, and atime options that differ from the source's. It does so with flagsToo
//     only: the launch in place ignores these options.
//   - A non-recursive bind of a source with mounts below it becomes recursive, and each of
//     these mounts is covered by an empty one.
func unlockable(spec *specs.Spec, dirs map[string]bool, flagsToo bool) (bundle.Edit, error) {
	e := bundle.Edit{From: "locked mounts", Rule: "a user namespace cannot undo the host's mounts"}
	if !slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool {
		return bundle.IsBind(m) && (!isRecursive(m) && dirs[m.Source] || flagsToo && slices.ContainsFunc(m.Options, undoes))
	}) || !hasLockedMounts(spec) {
		return e, nil
	}
	l := locked{newUserns: namespace(spec, specs.UserNamespace) != nil, dirs: dirs}
	for i, m := range spec.Mounts {
		if !bundle.IsBind(m) {
			continue
		}
		if flagsToo && slices.ContainsFunc(m.Options, undoes) {
			m = l.withoutLocked(m)
		}
		covers, err := l.cover(&m)
		if err != nil {
			return e, fmt.Errorf("mount at %q: %w", m.Destination, err)
		}
		if len(covers) > 0 || !slices.Equal(m.Options, spec.Mounts[i].Options) {
			e.MountsAt = append(e.MountsAt, inPlaceOf(i, append([]specs.Mount{m}, covers...)...))
		}
	}
	return e, nil
}

// recursively applies the restrictions of recursive binds to all mounts below them. The hpc
// profile needs this: nothing in a read-only directory of the host may be writable. Kernels
// before 5.12 cannot do it.
func recursively(mounts []specs.Mount) bundle.Edit {
	e := bundle.Edit{From: "recursive mounts", Rule: "restrictions of a recursive bind apply to every mount below it"}
	if !inplace.MayRecurse() {
		return e
	}
	for i, m := range mounts {
		if !bundle.IsBind(m) || !isRecursive(m) {
			continue
		}
		changed := slices.Clip(m.Options)
		for _, word := range []string{"ro", "nosuid", "nodev", "noexec"} {
			if inEffect(m.Options, word) && !slices.Contains(m.Options, "r"+word) {
				changed = append(changed, "r"+word)
			}
		}
		if len(changed) > len(m.Options) {
			m.Options = changed
			e.MountsAt = append(e.MountsAt, inPlaceOf(i, m))
		}
	}
	return e
}

// inEffect reports whether the option is set, and no later option undoes it.
func inEffect(options []string, word string) bool {
	on := false
	for _, option := range options {
		on = option == word || on && lockables[option].word != word
	}
	return on
}

func isRecursive(m specs.Mount) bool { return slices.Contains(m.Options, "rbind") }

// A lockable is a flag of a mount: in statfs(2), in mount_setattr(2) and in mountinfo.
type lockable struct {
	st   int64
	attr uint64
	word string
}

// lockables maps options to the flags that they undo.
var lockables = map[string]lockable{
	"rw":   {unix.ST_RDONLY, unix.MOUNT_ATTR_RDONLY, "ro"},
	"suid": {unix.ST_NOSUID, unix.MOUNT_ATTR_NOSUID, "nosuid"},
	"dev":  {unix.ST_NODEV, unix.MOUNT_ATTR_NODEV, "nodev"},
	"exec": {unix.ST_NOEXEC, unix.MOUNT_ATTR_NOEXEC, "noexec"},
}

// atimes maps the options about access times to their flags. A mount has one of the first
// three.
var atimes = map[string]int64{
	"relatime": unix.ST_RELATIME, "noatime": unix.ST_NOATIME, "strictatime": 0, "nodiratime": unix.ST_NODIRATIME,
	"norelatime": 0, "atime": 0, "diratime": 0, "nostrictatime": 0,
}

// undoes reports whether an option may undo a flag of a mount.
func undoes(option string) bool {
	plain := strings.TrimPrefix(option, "r")
	if option == "rw" || option == "relatime" {
		plain = option
	}
	_, flag := lockables[plain]
	_, atime := atimes[plain]
	return flag || atime
}

func (l *locked) withoutLocked(m specs.Mount) specs.Mount {
	var st unix.Statfs_t
	if err := unix.Statfs(m.Source, &st); err != nil {
		return m // mounting it will report the error
	}
	m.Options = slices.DeleteFunc(slices.Clone(m.Options), func(option string) bool {
		if !undoes(option) {
			return false
		}
		if flag, ok := lockables[option]; ok {
			return st.Flags&flag.st != 0 && l.isLocked(m.Source, flag.attr)
		}
		if bit, ok := atimes[option]; ok {
			return atimeDiffers(st.Flags, option, bit)
		}
		flag, ok := lockables[option[1:]] // rrw and the like, which apply to all mounts below
		return ok && l.anyHas(m.Source, flag.word)
	})
	return m
}

// atimeDiffers reports whether the option differs from the file system's flags.
func atimeDiffers(has int64, option string, bit int64) bool {
	const all = unix.ST_RELATIME | unix.ST_NOATIME
	switch option {
	case "relatime", "noatime":
		return has&all != bit
	case "nodiratime":
		return has&bit == 0
	case "diratime":
		return has&unix.ST_NODIRATIME != 0
	case "atime":
		return has&unix.ST_NOATIME != 0
	case "nostrictatime":
		return false
	}
	return has&all != 0 // strictatime, norelatime
}

// isLocked reports whether the flag cannot be cleared. It tries on a copy of the mount; in a
// new user namespace flags never can be cleared.
func (l *locked) isLocked(source string, attr uint64) bool {
	if l.newUserns {
		return true
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return true // also if the kernel is too old to try
	}
	defer unix.Close(fd)
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: attr}) != nil
}

// maybeBelow reports whether something may be mounted below the directory. It only searches
// the text of mountinfo, which is faster than parsing it.
func (l *locked) maybeBelow(dir string) (bool, error) {
	if l.text == nil {
		var err error
		if l.text, err = os.ReadFile("/proc/thread-self/mountinfo"); err != nil {
			return false, fmt.Errorf("read mounts: %w", err)
		}
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false, err
	}
	escape := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)
	return bytes.Contains(l.text, []byte(" "+escape.Replace(strings.TrimSuffix(real, "/"))+"/")), nil
}

// below lists the mounts below the directory, and with itself also the mount that it is on.
func (l *locked) below(source string, itself bool) ([]*mountinfo.Info, error) {
	if l.mounts == nil {
		var err error
		if l.mounts, err = mountpoints.Table("thread-self"); err != nil {
			return nil, err
		}
	}
	real, err := filepath.EvalSymlinks(source)
	if err != nil {
		return nil, err
	}
	var under *mountinfo.Info
	var found []*mountinfo.Info
	for _, m := range l.mounts {
		if rel, ok := mountpoints.Below(real, m.Mountpoint); ok && rel != "" {
			found = append(found, m)
		} else if _, ok := mountpoints.Below(m.Mountpoint, real); ok && (under == nil || len(m.Mountpoint) >= len(under.Mountpoint)) {
			under = m
		}
	}
	if itself && under != nil {
		found = append(found, under)
	}
	return found, nil
}

// anyHas reports whether the source, or something mounted below it, has the flag.
func (l *locked) anyHas(source, flag string) bool {
	mounts, err := l.below(source, true)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(mounts, func(m *mountinfo.Info) bool { return slices.Contains(strings.Split(m.Options, ","), flag) })
}

// maxHidden is how many mounts below a source are covered at most.
const maxHidden = 1000

// cover makes a bind recursive if mounts below its source require that, and returns mounts
// that cover these. In a user namespace the kernel refuses a bind that would reveal what is
// under another namespace's mounts (EINVAL, mount_namespaces(7)).
func (l *locked) cover(m *specs.Mount) ([]specs.Mount, error) {
	if isRecursive(*m) || !l.dirs[m.Source] {
		return nil, nil
	}
	if maybe, err := l.maybeBelow(m.Source); err != nil || !maybe {
		return nil, err
	}
	mounts, err := l.below(m.Source, false)
	if err != nil || len(mounts) == 0 || !l.newUserns && mayUncover(m.Source) {
		return nil, err
	}
	if len(mounts) > maxHidden {
		return nil, fmt.Errorf("%d file systems are mounted below %s, more than %d: use rbind", len(mounts), m.Source, maxHidden)
	}
	m.Options = slices.Clone(m.Options)
	m.Options = append(slices.DeleteFunc(m.Options, func(o string) bool { return o == "bind" }), "rbind")
	real, err := filepath.EvalSymlinks(m.Source)
	if err != nil {
		return nil, err
	}
	return emptied(m.Destination, real, mounts), nil
}

// emptied returns mounts that cover the given ones, which are below dir on the host and
// below the destination in the container.
func emptied(destination, dir string, mounts []*mountinfo.Info) []specs.Mount {
	var covers []specs.Mount
	hidden := map[string]bool{}
	points := make([]string, 0, len(mounts))
	for _, m := range mounts {
		points = append(points, m.Mountpoint)
	}
	slices.Sort(points)
	for _, point := range points {
		rel, _ := mountpoints.Below(dir, point)
		above := false
		for at := filepath.Dir(rel); at != "." && at != "/"; at = filepath.Dir(at) {
			above = above || hidden[at]
		}
		if above || hidden[rel] {
			continue
		}
		hidden[rel] = true
		var st unix.Statx_t // not stat(2): a user's file system may be mounted there, and never answer
		err := unix.Statx(unix.AT_FDCWD, point, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another mount hides it
		}
		cover := specs.Mount{
			Destination: filepath.Join(destination, rel), Type: "tmpfs", Source: "tmpfs",
			Options: []string{"ro", "nosuid", "nodev", "noexec", "size=4k", "nr_inodes=1", "mode=0755"},
		}
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			cover = specs.Mount{Destination: cover.Destination, Type: "bind", Source: os.DevNull, Options: []string{"bind", "ro"}}
		}
		covers = append(covers, cover)
	}
	return covers
}

// mayUncover reports whether this process may bind the directory without the mounts below
// it. It tries.
func mayUncover(dir string) bool {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}
