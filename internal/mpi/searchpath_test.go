package mpi

import (
	"os"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// Wherever the loader's rules lead, the site's library is put there: ld.so(8), and
// elf/dl-load.c of glibc.
func TestSearchPaths(t *testing.T) {
	const old, runpath = "-Wl,--disable-new-dtags,-rpath,", "-Wl,--enable-new-dtags,-rpath,"
	for name, test := range map[string]struct {
		at   string // where the image has its MPI
		args []string
		env  string
	}{
		"several":                      {"/opt/b", []string{old + "/none:/opt/a/:/opt/b"}, ""},
		"padded":                       {"/opt/" + strings.Repeat("__spack_path_placeholder__/", 8) + "lib", []string{old + "/opt/" + strings.Repeat("__spack_path_placeholder__/", 8) + "lib"}, ""},
		"ORIGIN in braces":             {"/lib/app", []string{runpath + "${ORIGIN}/../lib/app"}, ""},
		"LIB of Debian":                {"/opt/lib/x86_64-linux-gnu", []string{runpath + "/opt/$LIB"}, ""},
		"LIB of Red Hat":               {"/opt/lib64", []string{old + "/opt/${LIB}"}, ""},
		"LIB of others":                {"/opt/lib", []string{runpath + "/opt/$LIB"}, ""},
		"PLATFORM":                     {"/opt/x86_64", []string{runpath + "/opt/$PLATFORM"}, ""},
		"PLATFORM of glibc 2.3":        {"/opt/haswell", []string{runpath + "/opt/$PLATFORM"}, ""},
		"relative":                     {"/work/lib", []string{runpath + "lib"}, ""},
		"LD_LIBRARY_PATH with a place": {"/lib/app", nil, "LD_LIBRARY_PATH=$ORIGIN/../lib/app"},
		"LD_LIBRARY_PATH, empty":       {"/work", nil, "LD_LIBRARY_PATH=/none:"},
		"LD_LIBRARY_PATH, semicolon":   {"/opt/a", nil, "LD_LIBRARY_PATH=/none;/opt/a"},
		"LD_PRELOAD":                   {"/opt/a", nil, "LD_PRELOAD=/none.so /opt/a/libmpi.so.12"},
		"for a newer processor":        {"/opt/a/glibc-hwcaps/x86-64-v3", []string{runpath + "/opt/a"}, ""},
		"for one of the search path":   {"/opt/a/glibc-hwcaps/x86-64-v2", nil, "LD_LIBRARY_PATH=/opt/a"},
		"not the usual ones":           {"/opt/a", []string{runpath + "/opt/a", "-Wl,-z,nodefaultlib"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.request.Cwd = "/work"
			lib := m.library(m.image+test.at, "libmpi.so.12.1.0", mpich)
			m.gcc(m.image+"/bin/program", calls, append([]string{lib}, test.args...)...)
			m.siteMPI("libmpi.so.12.4.1", mpich)
			if test.env != "" {
				m.request.Env = append(m.request.Env, test.env)
			}
			m.expect("/opt/site/libmpi.so.12.4.1 at " + test.at + "/libmpi.so.12.1.0")
		})
	}
}

// A DT_RPATH also applies to the dependencies of the program's libraries, a DT_RUNPATH
// does not; the program's DT_RPATH applies to libraries that are opened.
func TestInheritedSearchPaths(t *testing.T) {
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	lib := m.library(m.image+"/opt/a", "libmpi.so.12.1.0", mpich)
	mid := m.library(m.image+"/opt/mid", "libmid.so.1.0", "int MPI_Init(void); int mid(void) { return MPI_Init(); }", lib)
	const program = "int mid(void); int main(void) { return mid(); }"
	const covered = "/opt/site/libmpi.so.12.4.1 at /opt/a/libmpi.so.12.1.0"
	link := []string{mid, "-Wl,-rpath-link," + m.image + "/opt/a"}
	m.gcc(m.image+"/bin/program", program, append(link, "-Wl,--disable-new-dtags,-rpath,/opt/mid:/opt/a")...)
	m.expect(covered)
	m.gcc(m.image+"/bin/program", program, append(link, "-Wl,--enable-new-dtags,-rpath,/opt/mid:/opt/a")...)
	if got := m.plan(); strings.Contains(got, "/opt/a/") {
		t.Errorf("the DT_RUNPATH of a program is followed for its libraries:\n%s", got)
	}
	l := loader{linker.New(linker.NewView(m.request.Image, newWitnesses()), "amd64", nil)}
	defer l.Close()
	m.gcc(m.image+"/bin/program", noMPI, "-Wl,--disable-new-dtags,-rpath,/opt/a")
	o, err := l.Open("/bin/program")
	m.check(err)
	if p := l.Start(o, "/opt/mid/libmid.so.1"); p.Names["libmpi.so.12"] == nil {
		t.Errorf("what is opened misses %v", p.Missing)
	}
}

// $ORIGIN of a library is the directory in which it was found, even if it is a link.
func TestOriginOfLinks(t *testing.T) {
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	lib := m.library(m.image+"/opt/view", "libmpi.so.12.1.0", mpich)
	mid := m.library(m.image+"/opt/store", "libmid.so.1.0", "int MPI_Init(void); int mid(void) { return MPI_Init(); }", lib, "-Wl,-rpath,$ORIGIN")
	m.check(os.Symlink("../store/libmid.so.1.0", m.image+"/opt/view/libmid.so.1"))
	m.gcc(m.image+"/bin/program", "int mid(void); int main(void) { return mid(); }", mid, "-Wl,-rpath,/opt/view,-rpath-link,"+m.image+"/opt/view")
	m.expect("/opt/site/libmpi.so.12.4.1 at /opt/view/libmpi.so.12.1.0")
}

// ".." leaves the directory that a link leads to, not the one that holds the link.
func TestAboveLinks(t *testing.T) {
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	lib := m.library(m.image+"/store/lib", "libmpi.so.12.1.0", mpich)
	m.library(m.image+"/view/lib", "libmpi.so.12.0.0", mpich)
	mid := m.library(m.image+"/store/mid", "libmid.so.1.0", "int MPI_Init(void); int mid(void) { return MPI_Init(); }", lib, "-Wl,-rpath,$ORIGIN/../lib")
	m.check(os.Symlink("../store/mid", m.image+"/view/mid"))
	m.gcc(m.image+"/bin/program", "int mid(void); int main(void) { return mid(); }", mid, "-Wl,-rpath,/none/../view/mid:/view/mid,-rpath-link,"+m.image+"/store/lib")
	m.expect("/opt/site/libmpi.so.12.4.1 at /store/lib/libmpi.so.12.1.0")
	if got := m.plan(); strings.Contains(got, "/view/lib") {
		t.Errorf("got:\n%s", got)
	}
	m.request.CacheDir = t.TempDir()
	m.plan()
	m.check(os.Remove(m.image + "/view/mid"))
	if m.recalls() {
		t.Error("a decision is taken over though the link is gone")
	}
}

// Loaders before glibc 2.37 also search directories that later ones do not know.
func TestLegacyLevels(t *testing.T) {
	m := newMachine(t)
	for _, dir := range []string{"/opt/a/tls/haswell/x86_64", "/opt/a/haswell", "/opt/a/other"} {
		m.check(os.MkdirAll(m.image+dir, 0o755))
	}
	levels := func() string {
		l := loader{linker.New(linker.NewView(m.request.Image, newWitnesses()), "amd64", nil)}
		defer l.Close()
		return strings.Join(l.Levels("/opt/a"), " ")
	}
	libc := func(version string) {
		m.write(m.node+"/map", version+" { global: f; };")
		m.gcc(m.image+"/lib/x86_64-linux-gnu/libc.so.6", "int f(void) { return 0; }", "-shared", "-fPIC", "-nostdlib",
			"-Wl,-soname,libc.so.6", "-Wl,--version-script,"+m.node+"/map")
	}
	libc("GLIBC_2.31")
	if got, want := levels(), "/opt/a/tls/haswell/x86_64 /opt/a/tls/haswell /opt/a/tls /opt/a/haswell /opt/a"; got != want {
		t.Errorf("glibc 2.31 looks in %s, want %s", got, want)
	}
	libc("GLIBC_2.38")
	if got := levels(); got != "/opt/a" {
		t.Errorf("glibc 2.38 looks in %s", got)
	}
}

// Of the cache's entries for newer processors only those count that this processor can
// use.
func TestLevelsOfCache(t *testing.T) {
	m := newMachine(t)
	m.write(m.node+"/proc/cpuinfo", "processor : 0\nflags : fpu cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2\n")
	const v4, v2 = debianLib + "/glibc-hwcaps/x86-64-v4", debianLib + "/glibc-hwcaps/x86-64-v2"
	m.library(m.image+v4, "libmpi.so.12.0.0", mpich)
	m.library(m.image+v2, "libmpi.so.12.0.0", mpich)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	var cache ldcache.Cache
	for _, dir := range []string{v4, v2, debianLib} {
		cache.Entries = append(cache.Entries, ldcache.Entry{Name: "libmpi.so.12", Path: dir + "/libmpi.so.12", Flags: ldcache.Flags("amd64")})
	}
	m.write(m.image+ldcache.Path, string(cache.Encode()))
	m.expect("/opt/site/libmpi.so.12.4.1 at "+v2+"/libmpi.so.12.0.0", "/opt/site/libmpi.so.12.4.1 at "+debianLib+"/libmpi.so.12.1.0")
	if got := m.plan(); strings.Contains(got, v4) {
		t.Errorf("a library that this processor cannot use is replaced:\n%s", got)
	}
}

// A profiler that is linked before an MPI is not an MPI, and the hash of a wheel is
// removed from names.
func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"libmpi-1a2b3c4d.so.12.3.1": "libmpi.so.12", "libmpi-1a2b3c4d.so": "libmpi.so", "libmpi.so.12": "libmpi.so.12",
		"libopen-pal.so.40": "libopen-pal.so.40", "libopen-pal-0a0b0c0d.so.40.30.2": "libopen-pal.so.40", "libopen-deadbeefs.so.1": "libopen-deadbeefs.so.1",
		"libmpi-cafe.so.12": "libmpi-cafe.so.12", "x": "x",
	} {
		if got := plainName(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	lib := m.library(m.image+debianLib, "libmpi.so.12.1.0", mpich+" int PMPI_Init(void) { return 0; }")
	profiler := m.library(m.image+debianLib, "libmpiP.so.3.5", "int PMPI_Init(void); int MPI_Init(void) { return PMPI_Init(); }", lib)
	m.gcc(m.image+"/bin/program", calls, profiler, lib)
	m.expect("/opt/site/libmpi.so.12.4.1 at " + debianLib + "/libmpi.so.12.1.0")
	if got := m.plan(); strings.Contains(got, "warning") {
		t.Errorf("got:\n%s", got)
	}
}
