package gpu

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
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

// recall reads what keep wrote under the same key. Whatever is wrong with it,
// it is as if there were nothing: it is found out anew.
func (p *plan) recall(name, key string, value any) bool {
	if p.CacheDir == "" {
		return false
	}
	f, err := os.OpenFile(filepath.Join(p.CacheDir, name+".json"), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || !ours(st) || st.Size > mostMemory {
		return false
	}
	data := make([]byte, st.Size)
	if n, err := f.Read(data); err != nil || int64(n) != st.Size {
		return false
	}
	// The key is the first line.
	kept, rest, ok := bytes.Cut(data, []byte("\n"))
	return ok && string(kept) == key && json.Unmarshal(rest, value) == nil
}

// ours tells whether nobody but the caller can have written the file.
func ours(st unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && int(st.Uid) == os.Geteuid() && st.Mode&0o022 == 0
}

// keep writes a discovery down, by rename. That it cannot is no error: the next
// call takes longer.
func (p *plan) keep(name, key string, value any) {
	if p.CacheDir == "" {
		return
	}
	data, err := json.Marshal(value)
	if err != nil || len(data) > mostMemory || strings.Contains(key, "\n") {
		return
	}
	data = slices.Concat([]byte(key+"\n"), data)
	if err := os.Mkdir(p.CacheDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return
	}
	sweep(p.CacheDir)
	f, err := os.CreateTemp(p.CacheDir, halfPrefix)
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close(), os.Rename(f.Name(), filepath.Join(p.CacheDir, name+".json"))); err != nil {
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
