package mpi

import (
	"errors"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const debianLib = "/usr/lib/x86_64-linux-gnu"

// However the program finds its MPI, the site's is put there, with what it needs beside
// it.
func TestReplace(t *testing.T) {
	const private = "/run/.ocishim/mpi/lib/"
	given := []string{
		"/opt/site at /run/.ocishim/mpi/node/0",
		private + "libmpi.so.12 -> ../node/0/libmpi.so.12.4.1", private + "libfabric.so.1 -> ../node/0/libfabric.so.1.2.3",
		"LD_LIBRARY_PATH=/run/.ocishim/mpi/lib", // no cache in this image
	}
	for name, test := range map[string]struct {
		dir  string // of the image's MPI
		args []string
		env  string
	}{
		"neither":         {debianLib, nil, ""},
		"RUNPATH":         {"/opt/app", []string{"-Wl,--enable-new-dtags,-rpath,/opt/app"}, ""},
		"RPATH":           {"/opt/app", []string{"-Wl,--disable-new-dtags,-rpath,/opt/app"}, ""},
		"ORIGIN":          {"/bin/lib", []string{"-Wl,-rpath,$ORIGIN/lib"}, ""},
		"LD_LIBRARY_PATH": {"/opt/app", nil, "LD_LIBRARY_PATH=/nowhere:/opt/app"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			lib := m.library(m.image+test.dir, "libmpi.so.12.1.0", mpich)
			m.gcc(m.image+"/bin/program", calls, append([]string{lib}, test.args...)...)
			m.siteMPI("libmpi.so.12.4.1", mpich)
			if test.env != "" {
				m.request.Env = append(m.request.Env, test.env)
			}
			m.expect(append(given, "/opt/site/libmpi.so.12.4.1 at "+test.dir+"/libmpi.so.12.1.0")...)
		})
	}
}

// Every path with an MPI of that name is covered, whether the program finds it or not.
func TestReplaceEveryPath(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.library(m.image+"/usr/lib64", "libmpi.so.12.0.0", mpich)
	m.library(m.image+"/lib", "libmpi.so.12.9.9", openmpi) // of another family
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.expect("/opt/site/libmpi.so.12.4.1 at /usr/lib64/libmpi.so.12.0.0", "/opt/site/libmpi.so.12.4.1 at "+debianLib+"/libmpi.so.12.1.0")
	if got := m.plan(); strings.Contains(got, "12.9.9") {
		t.Errorf("Open MPI is replaced by MPICH:\n%s", got)
	}
}

// Programs without MPI, or with a static one, are left alone.
func TestLeftAlone(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		args []string
		want []string
	}{
		"no MPI": {"int main(void) { return 0; }", nil, nil},
		"static": {calls + mpich, []string{"-static"}, []string{"the program has a statically linked MPI"}},
		"half static": {
			calls + mpich + "\n#include <dlfcn.h>\nvoid *x(void) { return dlopen(\"x\", 1); }", nil,
			[]string{"the program has a statically linked MPI"},
		},
		"static, no": {"int main(void) { return 0; }", []string{"-static"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.imageMPI("libmpi.so.12.1.0", mpich)
			m.siteMPI("libmpi.so.12.4.1", mpich)
			m.gcc(m.image+"/bin/program", test.text, test.args...)
			m.expect(test.want...)
		})
	}
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.expect() // there is no program
}

// Scripts, and programs that load or execute others, get it if the image has an MPI.
func TestWrapping(t *testing.T) {
	for name, text := range map[string]string{
		"script":  "",
		"python":  "#include <dlfcn.h>\nint main(void) { return dlopen(\"libmpi.so.12\", 1) == 0; }",
		"a shell": "#include <unistd.h>\nint main(void) { return execve(\"/bin/x\", 0, 0); }",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.imageMPI("libmpi.so.12.1.0", mpich)
			m.siteMPI("libmpi.so.12.4.1", mpich)
			if text == "" {
				m.write(m.image+"/bin/program", "#!/bin/sh\n")
			} else {
				m.gcc(m.image+"/bin/program", text)
			}
			m.expect("/opt/site/libmpi.so.12.4.1 at " + debianLib + "/libmpi.so.12.1.0")
			// It is never refused: it may not use MPI.
			m.request.Profiles[0].ABI = ABIStrict
			m.expect("warning: mpi.site: the image's libmpi.so.12.1.0 and the site's libmpi.so.12.4.1 are not the same version, " +
				"as abi = \"strict\" requires; the image's own MPICH (libmpi.so.12.1.0) is used")
			m.check(os.RemoveAll(m.image + debianLib))
			m.expect()
		})
	}
}

// The program may be mounted from the host, and be found through links of several
// trees.
func TestProgramOfTheHome(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.check(os.MkdirAll(m.node+"/home/alice", 0o755))
	m.check(os.MkdirAll(m.node+"/scratch/a", 0o755))
	m.check(os.Rename(m.image+"/bin/program", m.node+"/scratch/a/program"))
	m.check(os.Symlink("/scratch/a", m.node+"/home/alice/link")) // leads from one bind into another
	m.check(os.MkdirAll(m.image+"/data", 0o755))
	m.check(os.Symlink("/home/alice", m.image+"/data/home")) // and from the image into one
	for _, dir := range []string{"/home/alice", "/scratch"} {
		m.request.Mounts = append(m.request.Mounts, specs.Mount{Destination: dir, Source: dir, Options: []string{"rbind"}})
	}
	m.request.Cwd = "/scratch"
	for _, program := range []string{"/scratch/a/program", "/home/alice/link/program", "/data/home/link/program", "a/program"} {
		m.request.Program = program
		m.expect("/opt/site/libmpi.so.12.4.1 at " + debianLib + "/libmpi.so.12.1.0")
	}
	m.check(os.Symlink("loop", m.node+"/scratch/loop"))
	m.request.Program = "/scratch/loop/program"
	m.expect()
}

// If two families share a name, the profile's family decides.
func TestFamilies(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.0.3", openmpi) // Open MPI 1.10
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.expect("the image's own Open MPI (libmpi.so.12.0.3): no profile of the site matches it")
	m.siteMPI("libmpi.so.12.4.1", openmpi)
	m.request.Profiles[0].Prefix = "/opt/site"
	m.expect("/opt/site/libmpi.so.12.4.1 at "+debianLib+"/libmpi.so.12.0.3", "/opt/site at /run/.ocishim/mpi/prefix", "OPAL_PREFIX=/run/.ocishim/mpi/prefix")
	m.request.Profiles[0].Conflicts = []string{"libmpi"}
	m.expect("the image's own Open MPI (libmpi.so.12.0.3): no profile of the site matches it")
}

// The ABI of MPI 5 is a family by itself, recognised by its name.
func TestStandardABI(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi_abi.so.0.0.0", mpich+" int MPI_Abi_get_version(void) { return 0; }")
	m.siteMPI("libmpi_abi.so.0.1.0", mpich)
	m.request.Profiles[0].Replace = []string{"/opt/site/libmpi_abi.so.0"}
	m.expect("/opt/site/libmpi_abi.so.0.1.0 at " + debianLib + "/libmpi_abi.so.0.0.0")
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.expect("the image's own MPICH (libmpi.so.12.1.0): no profile of the site matches it")
}

func TestABI(t *testing.T) {
	for _, test := range []struct{ abi, image, site, want string }{
		{ABIMajor, "12.9.1", "12.4.1", ""},
		{ABIMajor, "12.9.1", "13.0.0", "different interfaces"},
		{ABIMajor, "12", "12", ""},
		{ABIFull, "12.1.8", "12.4.1", ""},
		{ABIFull, "12.4.1", "12.4.0", ""},
		{ABIFull, "12.5.0", "12.4.1", "the image's is newer"},
		{ABIFull, "12", "12.4.1", "file names lack the versions"},
		{ABIStrict, "12.4.1", "12.4.1", ""},
		{ABIStrict, "12.4.0", "12.4.1", "not the same version"},
	} {
		library := func(version string) Library {
			return Library{Family: MPICH, Path: "/libmpi.so." + version, Version: versionIn("libmpi.so." + version)}
		}
		got := compatible(test.abi, library(test.image), library(test.site))
		if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s, image %s, site %s: %q, want %q", test.abi, test.image, test.site, got, test.want)
		}
	}
	if compatible(ABIMajor, Library{Family: MPICH}, Library{Family: OpenMPI}) == "" {
		t.Error("MPICH is replaced by Open MPI")
	}
}

// If the host lacks a library, or has it without a needed version, the error says so
// before the program starts, with both versions.
func TestRefusals(t *testing.T) {
	t.Run("missing", func(t *testing.T) {
		m := newMachine(t)
		m.imageMPI("libmpi.so.12.1.0", mpich)
		m.siteMPI("libmpi.so.12.4.1", mpich)
		m.check(os.Remove(m.node + "/opt/site/libfabric.so.1"))
		m.refuses("mpi.site: the host has no libfabric.so.1, which its /opt/site/libmpi.so.12.4.1 needs")
		m.request.Profiles[0].Mismatch = MismatchOwn
		m.expect("warning: mpi.site: the host has no libfabric.so.1, which its /opt/site/libmpi.so.12.4.1 needs; the image's own MPICH (libmpi.so.12.1.0) is used")
	})
	t.Run("no such node", func(t *testing.T) {
		m := newMachine(t)
		m.imageMPI("libmpi.so.12.1.0", mpich)
		m.request.Profiles[0].When = []string{"libmpi.so.12"}
		m.refuses("the host's /opt/site/libmpi.so.12 cannot be used")
		if _, err := Edits(m.request); !errors.Is(err, ErrMismatch) {
			t.Errorf("%v is no ErrMismatch", err)
		}
	})
	t.Run("versions", func(t *testing.T) {
		m := newMachine(t)
		m.imageMPI("libmpi.so.12.1.0", mpich)
		m.siteMPI("libmpi.so.12.4.1", mpich)
		// Like a newer glibc on the host.
		m.write(m.node+"/map", "GLIBC_2.99 { global: future; };")
		libc := m.gcc(m.node+"/future/libc.so.6", "int future(void) { return 0; }", "-shared", "-fPIC", "-Wl,-soname,libc.so.6", "-Wl,--version-script,"+m.node+"/map")
		m.library(m.node+"/opt/site", "libmpi.so.12.4.1", mpich+"int future(void); int x(void) { return future(); }", "-nostdlib", libc)
		m.refuses("libmpi.so.12.4.1 needs GLIBC_2.99 of libc.so.6, but the image's /lib/x86_64-linux-gnu/libc.so.6 has only up to GLIBC_2.")
	})
	t.Run("part of the image's", func(t *testing.T) {
		m := newMachine(t)
		m.imageMPI("libmpi.so.12.1.0", mpich)
		cxx := m.library(m.image+debianLib, "libmpi_cxx.so.12.1.0", "int cxx(void) { return 0; }")
		m.gcc(m.image+"/bin/program", calls+"int cxx(void); int x(void) { return cxx(); }", m.image+debianLib+"/libmpi.so.12", cxx)
		m.siteMPI("libmpi.so.12.4.1", mpich)
		m.refuses("needs libmpi_cxx.so.12, which is a part of the image's MPI that the site's libmpi.so.12.4.1 does not have")
	})
	t.Run("musl", func(t *testing.T) {
		m := newMachine(t)
		lib := m.library(m.image+"/usr/lib", "libmpi.so.12.1.0", mpich)
		m.gcc(m.image+"/bin/program", calls, lib, "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
		m.siteMPI("libmpi.so.12.4.1", mpich)
		m.refuses("the program uses musl")
	})
}
