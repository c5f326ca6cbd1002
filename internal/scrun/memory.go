package scrun

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// slim gives back the memory that only the beginning of an anchor took, since it may
// wait for days: what is free in Go's heap, and what it has mapped of the program's
// file. The kernel brings back a page of that when it is touched again.
func slim() {
	debug.FreeOSMemory()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer f.Close()
	for _, m := range cleanMappings(bufio.NewScanner(f)) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// A mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// cleanMappings finds the mappings of files that are not written to, and of which no
// page is another than the file's, in lines such as those of /proc/PID/smaps (proc(5)).
func cleanMappings(lines *bufio.Scanner) []mapping {
	var clean []mapping
	var m mapping
	var ofFile bool
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && strings.Contains(fields[0], "-"): // START-END PERMS OFFSET DEVICE INODE [PATH]
			from, to, _ := strings.Cut(fields[0], "-")
			start, err := strconv.ParseUint(from, 16, 64)
			end, err2 := strconv.ParseUint(to, 16, 64)
			m = mapping{uintptr(start), uintptr(end)}
			ofFile = err == nil && err2 == nil && fields[4] != "0" && fields[1][1] == '-'
		case len(fields) >= 2 && fields[0] == "Anonymous:" && fields[1] == "0" && ofFile:
			clean = append(clean, m)
		}
	}
	return clean
}
