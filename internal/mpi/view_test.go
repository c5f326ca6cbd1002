package mpi

import (
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// However many directories are searched, a library is found in the last, few are open at
// once, and none afterwards.
func TestManyDirectories(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.library(m.image+"/last", "libmpi.so.12.2.0", mpich)
	var search []string
	for i := range 2 * mostOpen {
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

	v := newView(m.request.Image, newWitnesses())
	defer v.close()
	for _, dir := range search {
		if v.dir(dir) == nil {
			t.Errorf("no %s", dir)
		}
	}
	if now := openFiles(t); now != before+mostOpen {
		t.Errorf("%d files are open, before %d", now, before)
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

// Paths to one directory are one; what is bound somewhere below is another.
func TestDirectoriesByBinds(t *testing.T) {
	m := newMachine(t)
	m.write(m.image+"/usr/lib/own", "")
	m.write(m.node+"/site/theirs", "")
	m.check(os.Symlink("usr/lib", m.image+"/link"))
	m.check(os.Symlink("/usr/lib/sub", m.image+"/deep"))
	v := newView(m.request.Image, newWitnesses())
	defer v.close()
	v.bind([]specs.Mount{{Source: "/site", Destination: "/usr/lib/sub", Options: []string{"bind"}}}, m.request.Node)
	if v.dir("/usr/lib") == nil || v.dir("/usr/lib") != v.dir("/link") || v.dir("/usr/lib/") != v.dir("/link/../lib") || v.dir("/link/../usr/lib") != nil {
		t.Error("one directory is several")
	}
	for _, dir := range []string{"/usr/lib/sub", "/link/sub", "/deep"} {
		if d := v.dir(dir); d == nil || d != v.dir("/usr/lib/sub") || len(v.list(dir)) != 1 || v.list(dir)[0] != "theirs" {
			t.Errorf("%s is %+v", dir, d)
		}
	}
	if len(v.list("/usr/lib")) != 1 || v.list("/none") != nil || v.dir("/usr/lib/own") != nil {
		t.Error("what a directory holds")
	}
}
