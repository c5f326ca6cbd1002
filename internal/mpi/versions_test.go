package mpi

import (
	"testing"
)

const put = "/opt/site/libmpi.so.12.4.1 at " + debianLib + "/libmpi.so.12.1.0"

// versioned makes a library whose only function, hwloc, has that version.
func (m *machine) versioned(dir, file, version string) string {
	m.t.Helper()
	m.write(m.node+"/map", version+" { global: hwloc; };")
	return m.library(dir, file, "int hwloc(void) { return 0; }", "-Wl,--version-script,"+m.node+"/map")
}

// If the image's library lacks a needed version, the site's MPI is refused, also if its
// versions have other names. A library without any versions satisfies all, as in the
// loader.
func TestVersionsOfImage(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	ours := m.versioned(m.node+"/opt/site", "libhwloc.so.15.5.0", "HWLOC_2.5")
	m.library(m.node+"/opt/site", "libmpi.so.12.4.1", mpich+" int hwloc(void); int x(void) { return hwloc(); }", ours)
	m.expect(put)
	const needs = "libmpi.so.12.4.1 needs HWLOC_2.5 of libhwloc.so.15, but the image's " + debianLib + "/libhwloc.so.15.9.0 has "
	m.versioned(m.image+debianLib, "libhwloc.so.15.9.0", "OTHER_9")
	m.refuses(needs + "none")
	m.versioned(m.image+debianLib, "libhwloc.so.15.9.0", "HWLOC_2.4")
	m.refuses(needs + "only up to HWLOC_2.4")
	m.library(m.image+debianLib, "libhwloc.so.15.9.0", "int hwloc(void) { return 0; }")
	m.expect(put)
}

// A third library, the image's or a plugin of the host's, may need what the host's
// newer library no longer has.
func TestVersionsOfNode(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	theirs := m.versioned(m.image+debianLib, "libhwloc.so.15.1.0", "HWLOC_1.0")
	app := m.library(m.image+debianLib, "libapp.so.1.0", "int hwloc(void); int app(void) { return hwloc(); }", theirs)
	m.gcc(m.image+"/bin/program", calls+" int app(void); int x(void) { return app(); }", m.image+debianLib+"/libmpi.so.12", app, "-Wl,--allow-shlib-undefined")
	ours := m.versioned(m.node+"/opt/site", "libhwloc.so.15.5.0", "HWLOC_2.5")
	fabric := m.node + "/opt/site/libfabric.so.1"
	m.library(m.node+"/opt/site", "libmpi.so.12.4.1", mpich+" int hwloc(void); int fi_getinfo(void); int x(void) { return hwloc() + fi_getinfo(); }", ours, fabric)
	m.refuses("mpi.site: the image's " + debianLib + "/libapp.so.1.0 needs HWLOC_1.0 of libhwloc.so.15, but the host's ")
	m.refuses("/opt/site/libhwloc.so.15.5.0 has only up to HWLOC_2.5")
	// Without that library it fits, until a plugin needs more.
	m.gcc(m.image+"/bin/program", calls, m.image+debianLib+"/libmpi.so.12")
	m.expect(put)
	newer := m.versioned(m.node+"/newer", "libhwloc.so.15.9.0", "HWLOC_3.0")
	m.gcc(m.node+"/opt/site/libfabric/libx-fi.so", "int hwloc(void); int x(void) { return hwloc(); }", "-shared", "-fPIC", newer)
	m.refuses("/opt/site/libfabric/libx-fi.so needs HWLOC_3.0 of libhwloc.so.15, but the host's ")
}
