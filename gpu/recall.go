package gpu

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootID changes when the machine starts anew.
func (p *plan) bootID() string {
	if p.boot == "" {
		p.boot = p.Node.ReadLine("/proc/sys/kernel/random/boot_id")
	}
	return p.boot
}

// mostMemory bounds what is kept of one discovery, in bytes.
const mostMemory = 1 << 20

// recall reads what keep wrote under the same key: rows of fields. Whatever is
// wrong with it, it is as if there were nothing: it is found out anew.
func (p *plan) recall(name, key string) (rows [][]string, ok bool) {
	if p.CacheDir == "" {
		return nil, false
	}
	f, err := os.OpenFile(filepath.Join(p.CacheDir, name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || !ours(st) || st.Size > mostMemory {
		return nil, false
	}
	data := make([]byte, st.Size)
	if n, err := f.Read(data); err != nil || int64(n) != st.Size {
		return nil, false
	}
	// The key is the first line, and the last one says that nothing is missing.
	kept, rest, _ := strings.Cut(string(data), "\n")
	rest, whole := strings.CutSuffix(rest, endOfMemory)
	if kept != key || !whole {
		return nil, false
	}
	for line := range strings.Lines(rest) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows, true
}

const endOfMemory = "end\n"

// ours tells whether nobody but the caller can have written the file.
func ours(st unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && int(st.Uid) == os.Geteuid() && st.Mode&0o022 == 0
}

// keep writes a discovery down, by rename. That it cannot is no error: the next
// call takes longer. (encoding/json takes a third of a plan to read as much.)
func (p *plan) keep(name, key string, rows [][]string) {
	if p.CacheDir == "" {
		return
	}
	data := []byte(key + "\n")
	for _, row := range rows {
		for i, field := range row {
			if strings.ContainsAny(field, "\t\n") {
				return
			}
			if i > 0 {
				data = append(data, '\t')
			}
			data = append(data, field...)
		}
		data = append(data, '\n')
	}
	if data = append(data, endOfMemory...); len(data) > mostMemory || strings.Contains(key, "\n") {
		return
	}
	if err := os.Mkdir(p.CacheDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return
	}
	sweep(p.CacheDir)
	f, err := os.CreateTemp(p.CacheDir, halfPrefix)
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close(), os.Rename(f.Name(), filepath.Join(p.CacheDir, name))); err != nil {
		_ = os.Remove(f.Name())
	}
}

// halfPrefix begins the names of what is being written.
const halfPrefix = ".ocishim-new-"

// sweep removes what somebody who was killed left half written.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), halfPrefix) && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
