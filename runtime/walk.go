package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// errWalkEnds is returned by a visit function to end the walk.
var errWalkEnds = errors.New("enough seen")

// walkPath resolves a path as the kernel would, one name at a time, by descriptors. So `..`
// is the directory above the one that a link led to, and nobody can replace what visit has
// checked. visit is called for each directory, file and link before it is entered or
// followed, with the path as far as it is resolved, and last set for the last name.
//
// It returns the directory of the last name, opened with O_PATH, and that name, which need
// not exist. The directory is nil if the path ends before. If the last name is a link, it is
// followed only if followLast is set.
func walkPath(path string, followLast bool, visit func(at string, st *unix.Stat_t, last bool) error) (*os.File, string, error) {
	rest, err := namesFromRoot(path)
	if err != nil {
		return nil, "", err
	}
	at, err := os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", err
	}
	for links := 0; ; {
		name := rest[0]
		rest = rest[1:]
		last := len(rest) == 0
		next, target, err := lookAt(at, name, last, visit)
		switch {
		case errors.Is(err, unix.ENOENT) && !last:
			at.Close()
			return nil, "", nil
		case err != nil && !errors.Is(err, unix.ENOENT):
			at.Close()
			return nil, "", err
		case last && (err != nil || target == "" || !followLast):
			closeIf(next)
			return at, name, nil
		case target == "":
			at.Close()
			at = next
			continue
		}
		closeIf(next)
		if links++; links > maxLinks {
			at.Close()
			return nil, "", unix.ELOOP
		}
		rest = append(names(target), rest...)
		if len(rest) == 0 { // a link to /
			rest = []string{"."}
		}
		if filepath.IsAbs(target) {
			at.Close()
			if at, err = os.OpenFile("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
				return nil, "", err
			}
		}
	}
}

// lookAt opens the name in the directory, and visits it. target is the target of a link,
// empty for anything else.
func lookAt(dir *os.File, name string, last bool, visit func(at string, st *unix.Stat_t, last bool) error) (next *os.File, target string, err error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", err
	}
	next = os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name))
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil {
		err = visit(next.Name(), &st, last)
	}
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		buffer := make([]byte, unix.PathMax)
		var n int
		if n, err = unix.Readlinkat(fd, "", buffer); err == nil {
			target = string(buffer[:n])
		}
	}
	if err != nil {
		next.Close()
		return nil, "", err
	}
	return next, target, nil
}

func closeIf(f *os.File) {
	if f != nil {
		f.Close()
	}
}

// namesFromRoot returns the names of a path, which may be relative, from the root on. It
// keeps `..`: to remove it together with the name before would be wrong if that is a link.
// There is at least one name.
func namesFromRoot(path string) ([]string, error) {
	var found []string
	if !filepath.IsAbs(path) {
		buffer := make([]byte, unix.PathMax)
		n, err := unix.Getcwd(buffer)
		if err != nil {
			return nil, err
		}
		found = names(string(buffer[:n-1])) // without its final NUL
	}
	if found = append(found, names(path)...); len(found) == 0 {
		found = []string{"."}
	}
	return found, nil
}

func names(path string) []string {
	var found []string
	for _, name := range strings.Split(path, "/") {
		if name != "" && name != "." {
			found = append(found, name)
		}
	}
	return found
}
