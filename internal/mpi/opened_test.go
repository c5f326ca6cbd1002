package mpi

import (
	"os"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// Libraries that a program opens are found by names in it or in its libraries, or by a
// variable.
func TestOpened(t *testing.T) {
	const opens = "#include <dlfcn.h>\nint main(void) { return dlopen(\"%\", 2) == 0; }"
	open := func(name string) string { return strings.ReplaceAll(opens, "%", name) }
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	lib := m.library(m.image+"/opt/a", "libmpi.so.12.1.0", mpich)
	m.gcc(m.image+"/opt/plugin.so", "int MPI_Init(void); int plugin(void) { return MPI_Init(); }", "-shared", "-fPIC", lib, "-Wl,-rpath,$ORIGIN/a")
	m.gcc(m.image+"/bin/path", open("/opt/a/libmpi.so.12"))
	m.gcc(m.image+"/bin/name", open("libmpi.so.12"), "-Wl,-rpath,/opt/a")
	m.gcc(m.image+"/bin/plugin", open("/opt/plugin.so"))
	m.gcc(m.image+"/bin/other", open("/opt/none.so"))
	m.gcc(m.image+"/bin/format", open("/opt/%s/libmpi.so.12"))
	opener := m.library(m.image+debianLib, "libopener.so.1.0", strings.Replace(open("libmpi.so.12"), "main", "opener", 1), "-Wl,-rpath,/opt/a")
	m.gcc(m.image+"/bin/library", "int opener(void); int main(void) { return opener(); }", opener)
	trampoline := m.library(m.image+debianLib, "libmpitrampoline.so.5.0", strings.Replace(open("x"), "main", "MPI_Init", 1))
	m.gcc(m.image+"/bin/trampoline", calls, trampoline)
	m.request.Env = append(m.request.Env, "MPITRAMPOLINE_LIB=/opt/plugin.so")
	for program, want := range map[string]string{
		"path": "/opt/a", "name": "/opt/a", "plugin": "/opt/a", "other": "/opt/a", "format": "/opt/a", "library": "/opt/a", "trampoline": "/opt/a",
	} {
		m.request.Program = program
		if got := m.covered(); got != want {
			t.Errorf("%s: the site's MPI is put over %q, want %q:\n%s", program, got, want, m.plan())
		}
	}
	m.request.Env = m.request.Env[:len(m.request.Env)-1]
	for _, program := range []string{"other", "format", "trampoline"} {
		m.request.Program = program
		if got := m.covered(); got != "" {
			t.Errorf("%s: the site's MPI is put over %q", program, got)
		}
	}
}

// Julia's MPI.jl brings its own MPI, below the user's home.
func TestJulia(t *testing.T) {
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.gcc(m.image+"/bin/julia", "#include <dlfcn.h>\nint main(void) { return dlopen(0, 2) == 0; }")
	const lib = "/home/alice/.julia/artifacts/0a1b2c/lib"
	m.library(m.image+lib, "libmpi.so.12.1.0", mpich)
	m.check(os.Symlink("libmpi.so.12.1.0", m.image+lib+"/libmpi.so"))
	m.write(m.image+"/run.jl", "using MPI\nMPI.Init()\n")
	m.request.Env = append(m.request.Env, "HOME=/home/alice")
	m.request.Program, m.request.Args = "julia", []string{"--project", "/run.jl"}
	if got := m.covered(); got != lib {
		t.Errorf("the site's MPI is put over %q", got)
	}
}

// R's packages for MPI contain libraries.
func TestR(t *testing.T) {
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.gcc(m.image+"/bin/Rscript", shell)
	lib := m.library(m.image+"/opt/a", "libmpi.so.12.1.0", mpich)
	m.gcc(m.image+"/usr/lib/R/site-library/Rmpi/libs/Rmpi.so", "int MPI_Init(void); int r(void) { return MPI_Init(); }", "-shared", "-fPIC", lib, "-Wl,-rpath,/opt/a")
	m.request.Program, m.request.Args = "Rscript", []string{"-e", "library(Rmpi)"}
	if got := m.covered(); got != "/opt/a" {
		t.Errorf("the site's MPI is put over %q", got)
	}
}

// Programs that are not known before find the site's MPI before their own, unless the
// site requires that each is checked, or one is known to have another.
func TestFirst(t *testing.T) {
	const first = "LD_LIBRARY_PATH=/run/.ocishim/mpi/first"
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	cache := &ldcache.Cache{Entries: []ldcache.Entry{{Name: "libmpi.so.12", Path: debianLib + "/libmpi.so.12", Flags: ldcache.Flags("amd64")}}}
	m.write(m.image+ldcache.Path, string(cache.Encode()))
	has := func(want bool) {
		t.Helper()
		if got := m.plan(); strings.Contains(got, first) != want {
			t.Errorf("want %v, got:\n%s", want, got)
		}
	}
	has(false) // only the program runs
	m.gcc(m.image+"/bin/sh", shell)
	m.request.Program, m.request.Args = "sh", []string{"-c", "exec $(cat program)"}
	has(true)
	m.expect("/run/.ocishim/mpi/first/libmpi.so.12 -> ../lib/libmpi.so.12")
	m.request.Profiles[0].ABI = ABIFull
	has(false)
	m.request.Profiles[0].ABI = ABIMajor
	other := m.library(m.image+"/opt/other", "libmpi.so.12.0.0", openmpi)
	m.gcc(m.image+"/bin/other", calls, other, "-Wl,-rpath,/opt/other")
	m.request.Args = []string{"-c", "program; other"}
	has(false)
}

// If a task needs two profiles, one is used, and a warning names the other.
func TestTwoProfiles(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.siteMPI("libmpi.so.40.40.1", openmpi)
	m.request.Profiles = append(m.request.Profiles, Profile{Name: "other", Replace: []string{"/opt/site/libmpi.so.40"}})
	other := m.library(m.image+debianLib, "libmpi.so.40.30.1", openmpi)
	m.gcc(m.image+"/bin/other", calls, other)
	m.gcc(m.image+"/bin/sh", shell)
	m.request.Program, m.request.Args = "sh", []string{"-c", "program; other"}
	m.expect("/opt/site/libmpi.so.12.4.1 at "+debianLib+"/libmpi.so.12.1.0",
		"warning: /bin/other uses its own Open MPI 4.1 (libmpi.so.40.30.1) in "+debianLib+
			": mpi.other matches it, but a task can use only one of the site's MPIs, here mpi.site")
}

// In an image with musl a script's MPI is made for musl: a library for glibc does not
// replace it.
func TestMuslBehindScripts(t *testing.T) {
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	musl := m.gcc(m.image+"/lib/libc.musl-x86_64.so.1", "int musl(void) { return 0; }", "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libc.musl-x86_64.so.1")
	lib := m.library(m.image+"/usr/lib", "libmpi.so.12.1.0", mpich+"int musl(void); int x(void) { return musl(); }", "-nostdlib", musl)
	m.gcc(m.image+"/bin/program", "int MPI_Init(void); void _start(void) { MPI_Init(); }", "-nostdlib", lib, musl, "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
	m.write(m.image+"/bin/run", "#!/bin/sh\nexec program\n")
	m.request.Program = "run"
	m.expect("warning: mpi.site: the program uses musl, and the site's MPI is made for glibc; /bin/program uses its own MPICH (libmpi.so.12.1.0) in /usr/lib")
	if got := m.plan(); strings.Contains(got, " at /") {
		t.Errorf("got:\n%s", got)
	}
}
