package scratch

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
)

// visible are the devices of all file systems that any process sees, as far as this process may
// look. They are read once, when first asked for.
type visible struct{ devices map[string]bool }

func (v *visible) has(device string) bool {
	if v.devices == nil {
		v.read()
	}
	return v.devices[device]
}

// read reads the mounts of each mount namespace by one of its processes.
func (v *visible) read() {
	v.devices = map[string]bool{}
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	read := map[string]bool{}
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		namespace, err := os.Readlink("/proc/" + name + "/ns/mnt")
		if err != nil || read[namespace] {
			continue
		}
		if f, err := os.Open("/proc/" + name + "/mountinfo"); err == nil {
			read[namespace] = v.add(f)
			f.Close()
		}
	}
}

// add adds the devices of a mountinfo (proc(5)), and reports whether it could be read: the process
// may have ended.
func (v *visible) add(mountinfo io.Reader) bool {
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 {
			v.devices[fields[2]] = true
		}
	}
	return lines.Err() == nil
}
