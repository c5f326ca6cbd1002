package scratch

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
)

// visible are the overlays that any process sees, by the names of their layers, as far as this
// process may look. They are read once, when first asked for.
type visible struct{ names map[string]bool }

func (v *visible) has(name string) bool {
	if v.names == nil {
		v.read()
	}
	return v.names[name]
}

// read reads the mounts of each mount namespace by one of its processes.
func (v *visible) read() {
	v.names = map[string]bool{}
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close()
	pids, _ := dir.Readdirnames(-1)
	read := map[string]bool{}
	for _, pid := range pids {
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		namespace, err := os.Readlink("/proc/" + pid + "/ns/mnt")
		if err != nil || read[namespace] {
			continue
		}
		if f, err := os.Open("/proc/" + pid + "/mountinfo"); err == nil {
			read[namespace] = v.add(f)
			f.Close()
		}
	}
}

// add adds what a mountinfo (proc(5)) has, and reports whether it could be read: the process may have
// ended.
func (v *visible) add(mountinfo io.Reader) bool {
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		_, rest, _ := strings.Cut(lines.Text(), " - ")
		if kind, rest, _ := strings.Cut(rest, " "); kind == "overlay" {
			name, _, _ := strings.Cut(rest, " ")
			v.names[name] = true
		}
	}
	return lines.Err() == nil
}
