package scrun

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Only mappings that the kernel can read again are released, not those that are or were
// written to.
func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-00c00000 r-xp 00000000 fe:00 1234    /usr/local/bin/ocishim
Size:               8192 kB
Rss:                4096 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00c00000-01000000 r--p 00800000 fe:00 1234    /usr/local/bin/ocishim
Anonymous:             4 kB
01000000-01100000 rw-p 00c00000 fe:00 1234    /usr/local/bin/ocishim
Anonymous:             0 kB
01200000-01300000 r--p 00000000 fe:00 99      /etc/a file
Anonymous:             0 kB
c000000000-c000400000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0  [vdso]
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0xc00000}, {0x1200000, 0x1300000}}
	if got := cleanMappings(bufio.NewScanner(strings.NewReader(smaps))); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// The program goes on as before, with less memory.
func TestSlim(t *testing.T) {
	before := residentPages(t)
	slim()
	if after := residentPages(t); after >= before {
		t.Errorf("%d pages before, %d after", before, after)
	}
}

// residentPages returns the second number of /proc/self/statm.
func residentPages(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages
}
