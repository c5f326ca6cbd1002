package mpi

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// However many directories are searched, a library is found in the last one; few are
// open at the same time, and none afterwards.
func TestManyDirectories(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.library(m.image+"/last", "libmpi.so.12.2.0", mpich)
	var search []string
	for i := range 200 {
		dir := fmt.Sprintf("/dir%d", i)
		m.check(os.Mkdir(m.image+dir, 0o755))
		search = append(search, dir)
	}
	m.request.Env = append(m.request.Env, "LD_LIBRARY_PATH="+strings.Join(append(search, "/last"), ":"))
	before := openFiles(t)
	m.expect("/opt/site/libmpi.so.12.4.1 at /last/libmpi.so.12.2.0")
	if after := openFiles(t); after != before {
		t.Errorf("%d files are open, before %d", after, before)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
