package scrun

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// slim releases memory that was needed only at an anchor's start, since the anchor may wait
// for days: free memory of Go's heap, and pages of the program's file. The kernel reads such
// a page again when it is used.
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

// cleanMappings finds the mappings of files that are read-only and have no modified page, in
// lines like those of /proc/PID/smaps (proc(5)).
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
