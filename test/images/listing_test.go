//go:build integration

package images

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A listing is a root file system by paths. Of a file with several names, the first in order has
// the content and the others are hard links to it.
type listing map[string]member

// wanted makes a listing of lines.
func wanted(lines []string) listing {
	l := listing{}
	for _, line := range lines {
		m := parseMember(line)
		l[m.path] = m
		for dir := path.Dir(m.path); dir != "."; dir = path.Dir(dir) {
			if _, there := l[dir]; !there {
				l[dir] = parseMember(dir + "/")
			}
		}
	}
	return l
}

var kindOf = map[fs.FileMode]byte{
	0: tar.TypeReg, fs.ModeDir: tar.TypeDir, fs.ModeSymlink: tar.TypeSymlink, fs.ModeNamedPipe: tar.TypeFifo,
	fs.ModeDevice: tar.TypeBlock, fs.ModeDevice | fs.ModeCharDevice: tar.TypeChar,
}

// list lists a directory.
func list(t *testing.T, dir string) listing {
	t.Helper()
	l, first := listing{}, map[uint64]string{}
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || at == dir {
			return err
		}
		m := member{path: strings.TrimPrefix(at, dir+"/"), kind: kindOf[d.Type()], xattrs: map[string]string{}}
		var s unix.Stat_t
		if err := unix.Lstat(at, &s); err != nil {
			return err
		}
		m.mode, m.uid, m.gid = int64(s.Mode&0o7777), int(s.Uid), int(s.Gid)
		switch m.kind {
		case tar.TypeReg:
			if name, there := first[s.Ino]; there && s.Nlink > 1 {
				m.kind, m.target = tar.TypeLink, name
				break
			}
			first[s.Ino] = m.path
			data, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			m.content = string(data)
		case tar.TypeSymlink:
			if m.target, err = os.Readlink(at); err != nil {
				return err
			}
		case tar.TypeChar, tar.TypeBlock:
			m.major, m.minor = int64(unix.Major(s.Rdev)), int64(unix.Minor(s.Rdev))
		}
		for _, name := range []string{"user.note", "security.capability"} {
			value := make([]byte, 64)
			if n, err := unix.Lgetxattr(at, name, value); err == nil {
				m.xattrs[name] = string(value[:n])
			}
		}
		l[m.path] = m
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// asTree returns what a tree keeps of a listing, and the names of what it does not.
func (l listing) asTree() (kept listing, lost []string) {
	kept, without := l.withoutCapabilities()
	for at, m := range kept {
		if m.kind == tar.TypeChar || m.kind == tar.TypeBlock {
			without["device nodes"] = true
			delete(kept, at)
			continue
		}
		if m.uid != 0 || m.gid != 0 {
			without["owners"] = true
		}
		if m.mode&0o6000 != 0 {
			without["setuid"] = true
		}
		m.uid, m.gid, m.mode = 0, 0, m.class()
		kept[at] = m
	}
	return kept, slices.Sorted(maps.Keys(without))
}

// class is what of a mode a tree keeps. A link has no mode, and a fifo is of no use in an image.
func (m member) class() int64 {
	mode := m.mode&0o755 | 0o600
	switch {
	case m.kind == tar.TypeSymlink, m.kind == tar.TypeLink, m.kind == tar.TypeFifo:
		return 0
	case m.kind == tar.TypeDir, m.mode&0o111 != 0:
		mode |= 0o100
	}
	return mode
}

// withoutCapabilities returns what a file of squashfs keeps of a listing.
func (l listing) withoutCapabilities() (kept listing, lost map[string]bool) {
	kept, lost = maps.Clone(l), map[string]bool{}
	for at, m := range kept {
		if _, there := m.xattrs["security.capability"]; there {
			lost["capabilities"] = true
			m.xattrs = maps.Clone(m.xattrs)
			delete(m.xattrs, "security.capability")
			kept[at] = m
		}
	}
	return kept, lost
}

// differences says what is wrong with a listing.
func (l listing) differences(want listing) (all []string) {
	for _, at := range slices.Sorted(maps.Keys(want)) {
		w := want[at]
		got, there := l[at]
		var what string
		switch {
		case !there:
			what = "lacks"
		case got.kind != w.kind:
			what = "another kind of"
		case got.target != w.target:
			what = "another target of"
		case got.content != w.content, got.major != w.major, got.minor != w.minor:
			what = "another content of"
		case w.kind == tar.TypeLink, w.kind == tar.TypeSymlink && got.uid == w.uid:
		case got.mode != w.mode:
			what = fmt.Sprintf("mode %o of", got.mode)
		case got.uid != w.uid || got.gid != w.gid:
			what = fmt.Sprintf("owner %d of", got.uid)
		default:
			for name := range w.xattrs {
				if got.xattrs[name] != w.value(name) {
					what = "no " + name + " of"
				}
			}
			if len(got.xattrs) > len(w.xattrs) {
				what = "more attributes of"
			}
		}
		if what != "" {
			all = append(all, what+" "+printable(at))
		}
	}
	for _, at := range slices.Sorted(maps.Keys(l)) {
		if _, there := want[at]; !there {
			all = append(all, printable(at)+" too many")
		}
	}
	return all
}

// oneLine is text for a cell of a table.
func oneLine(text string) string {
	quoted := fmt.Sprintf("%q", text)
	return quoted[1 : len(quoted)-1]
}

func printable(name string) string {
	quoted := oneLine(name)
	if len(quoted) > 30 {
		return quoted[:27] + "..."
	}
	return quoted
}
