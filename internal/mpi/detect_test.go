package mpi

import (
	"strings"
	"testing"
)

// Detect prints a profile by which the MPI replaces an image's.
func TestDetect(t *testing.T) {
	m := newMachine(t)
	m.library(m.node+"/opt/openmpi/lib", "libmpi_mpifh.so.40.40.1", "int mpifh(void) { return 0; }")
	m.write(m.node+"/opt/openmpi/share/openmpi/help.txt", "")
	fabric := m.library(m.node+"/opt/fabric", "libfabric.so.1.2.3", "int fi_getinfo(void) { return 0; }")
	m.library(m.node+"/opt/openmpi/lib", "libmpi.so.40.40.7", openmpi+"int fi_getinfo(void); int x(void) { return fi_getinfo(); }", fabric)
	m.library(m.node+"/usr/lib", "libmpich.so.12.4.1", mpich)
	m.library(m.node+"/usr/lib", "libmpi_other.so.12.4.1", mpich)
	m.write(m.node+"/usr/lib/libmpi.so.12", "not ELF")
	found, err := Detect(m.request.Host, "amd64", []string{"/opt/openmpi/lib", "/opt/fabric"}, nil)
	m.check(err)
	var text strings.Builder
	for _, i := range found {
		text.WriteString(i.Profile(i.ProfileName()))
	}
	const want = `# Open MPI 5.0 (libmpi.so.40.40.7) speaks no PMI.
[mpi.openmpi]
when = ["libmpi.so.40"]
replace = ["/opt/openmpi/lib/libmpi.so.40", "/opt/openmpi/lib/libmpi_mpifh.so.40"]
closure = ["/opt/fabric"]
prefix = "/opt/openmpi"
abi = "major"        # or "full", "strict"
mismatch = "refuse"  # or "own": the image's, with a warning
# MPICH (libmpich.so.12.4.1) speaks PMI2.
[mpi.mpich]
when = ["libmpich.so.12", "libmpi.so.12"]
replace = ["/usr/lib/libmpich.so.12"]
abi = "major"        # or "full", "strict"
mismatch = "refuse"  # or "own": the image's, with a warning
`
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &text, want)
	}
	if found, err = Detect(m.request.Host, "amd64", nil, []string{"/opt/openmpi/lib/libmpi.so.40"}); err != nil || len(found) != 1 || len(found[0].Missing) != 1 {
		t.Errorf("by its path: %+v, %v", found, err)
	}
	for _, path := range []string{"/none", "/usr/lib/libmpi.so.12", "/opt/fabric/libfabric.so.1"} {
		if _, err := Detect(m.request.Host, "amd64", nil, []string{path}); err == nil || !strings.Contains(err.Error(), "look at "+path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A fabric is in the profile if the task may use its device and the MPI finds its
// libraries; whether to require it is left to the administrator.
func TestDetectFabric(t *testing.T) {
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	profile := func() string {
		t.Helper()
		found, err := Detect(m.request.Host, "amd64", []string{"/opt/site"}, []string{"/opt/site/libmpi.so.12"})
		m.check(err)
		_, after, _ := strings.Cut(found[0].Profile("x"), "mismatch = \"refuse\"  # or \"own\": the image's, with a warning\n")
		return after
	}
	if got := profile(); got != "" {
		t.Errorf("without devices: %s", got)
	}
	m.write(m.node+"/dev/cxi0", "c 10 55 666 0 ok")
	if got := profile(); got != "" {
		t.Errorf("without libcxi: %s", got)
	}
	m.library(m.node+"/opt/site", "libcxi.so.1.5.0", "int cxi(void) { return 0; }")
	m.write(m.node+"/dev/knem", "c 10 56 666 0 ok") // needs no library
	m.write(m.node+"/dev/xpmem", "c 10 57 600 0 EACCES")
	m.library(m.node+"/opt/site", "libxpmem.so.0.0.0", "int xpmem(void) { return 0; }")
	const want = "fabric = [\"cxi\", \"knem\"]\n# Uncomment to refuse tasks where it is missing, instead of using TCP:\n# require = [\"cxi\", \"knem\"]\n"
	if got := profile(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
