package mpi

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/linker/ldcache"
	"github.com/ocishim/ocishim/internal/pace"
)

// Whatever an image contains, looking at it ends, no file of the host is taken for the
// image's, and nothing covers a file that is not the image's.
func TestHostileImage(t *testing.T) {
	for name, prepare := range map[string]func(*machine){
		"a pipe for a library": func(m *machine) {
			m.check(os.Remove(m.image + debianLib + "/libmpi.so.12"))
			m.check(unix.Mkfifo(m.image+debianLib+"/libmpi.so.12", 0o666))
		},
		"a link out of the image": func(m *machine) {
			m.check(os.Remove(m.image + debianLib + "/libmpi.so.12"))
			m.check(os.Symlink("/../../../../../../../.."+m.node+"/opt/site/libmpi.so.12", m.image+debianLib+"/libmpi.so.12"))
		},
		"a directory of links in a circle": func(m *machine) {
			m.check(os.RemoveAll(m.image + debianLib))
			m.check(os.Symlink("x86_64-linux-gnu", m.image+debianLib))
		},
		"garbage": func(m *machine) {
			m.write(m.image+ldcache.Path, strings.Repeat("ld.so-1.7.0", 100))
			m.write(m.image+debianLib+"/libmpi.so.12.1.0", "\x7fELF\x02\x01\x01"+strings.Repeat("\xff", 4096))
		},
		"the program is a pipe": func(m *machine) {
			m.check(os.Remove(m.image + "/bin/program"))
			m.check(unix.Mkfifo(m.image+"/bin/program", 0o777))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.imageMPI("libmpi.so.12.1.0", mpich)
			m.siteMPI("libmpi.so.12.4.1", mpich)
			prepare(m)
			said := make(chan string, 1)
			go func() { said <- m.plan() }()
			select {
			case got := <-said:
				if strings.Contains(got, " at /") {
					t.Errorf("something is put in place:\n%s", got)
				}
			case <-pace.After(20 * time.Second):
				t.Fatal("it does not end")
			}
		})
	}
}

// Libraries that need each other, also by names with slashes, are loaded once.
func TestCircles(t *testing.T) {
	m := newMachine(t)
	a := m.library(m.image+debianLib, "liba.so.1.0", "int a(void) { return 0; }")
	b := m.library(m.image+debianLib, "libb.so.1.0", "int a(void); int b(void) { return a(); }", a)
	m.library(m.image+debianLib, "liba.so.1.0", "int b(void); int a(void) { return b(); }", b)
	lib := m.library(m.image+debianLib, "libmpi.so.12.1.0", mpich)
	m.gcc(m.image+"/bin/program", calls+"int a(void); int x(void) { return a(); }", lib, m.image+debianLib+"/liba.so.1.0", "-Wl,--allow-shlib-undefined")
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.expect("/opt/site/libmpi.so.12.4.1 at " + debianLib + "/libmpi.so.12.1.0")
}
