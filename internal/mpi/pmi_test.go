package mpi

import (
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/linker"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A step that offers another PMI than the program's MPI speaks gets one hint.
func TestHint(t *testing.T) {
	pmix := Library{Family: OpenMPI, Path: "/libmpi.so.40.40.7", Version: "40.40.7", PMI: PMI{PMIx: true, Version: "2.13.7"}}
	socket := Library{Family: MPICH, Path: "/libmpi.so.12.4.1", PMI: PMI{Socket: true}}
	for _, test := range []struct {
		mpi  Library
		env  string
		want string
	}{
		{pmix, "SLURM_NTASKS=2 SLURM_PROCID=0 PMIX_NAMESPACE=slurm.pmix.1.0", ""},
		{pmix, "SLURM_NTASKS=2 SLURM_PROCID=0", "this step offers no PMI, and Open MPI 5.0 (libmpi.so.40.40.7) needs PMIx 5.0: each of its 2 tasks will run alone, as rank 0 of 1; use srun --mpi=pmix"},
		{pmix, "SLURM_NTASKS=2 SLURM_PROCID=0 PMI_FD=10", "this step offers PMI2, and Open MPI 5.0 (libmpi.so.40.40.7) needs PMIx 5.0: its 2 tasks will not find each other; use srun --mpi=pmix"},
		{pmix, "SLURM_NTASKS=2 SLURM_PROCID=1", ""},
		{pmix, "SLURM_NTASKS=8 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0", ""},
		{pmix, "", ""},
		{socket, "SLURM_NTASKS=2 SLURM_PROCID=0 PMI_FD=10", ""},
		{socket, "SLURM_NTASKS=2 SLURM_PROCID=0 PMIX_RANK=0", "this step offers PMIx, and MPICH (libmpi.so.12.4.1) needs PMI2: its 2 tasks will not find each other; use srun --mpi=pmi2"},
		{Library{}, "SLURM_NTASKS=2 SLURM_PROCID=0", ""},
	} {
		if got := hint(newEnvironment(strings.Fields(test.env)), test.mpi); got != test.want {
			t.Errorf("%s, %s:\ngot  %s\nwant %s", test.mpi, test.env, got, test.want)
		}
	}
}

// For Open MPI 4 the plugins say which PMI it speaks, for all others the libraries.
func TestPMI(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.40.30.4", openmpi)
	speaks := func() string {
		t.Helper()
		p := &plan{Request: m.request, env: newEnvironment(m.request.Env), seen: newWitnesses()}
		defer p.close()
		p.look()
		m.check(p.readCaches())
		m.check(p.decide())
		return p.speaks.PMI.String()
	}
	if got := speaks(); got != "no PMI" {
		t.Errorf("without plugins: %s", got)
	}
	m.write(m.image+debianLib+"/openmpi/lib/openmpi3/mca_pmix_ext3x.so", "")
	if got := speaks(); got != "PMIx" {
		t.Errorf("with a plugin: %s", got)
	}
	m.write(m.image+debianLib+"/openmpi/mca_pmix_s2.so", "")
	if got := speaks(); got != "PMIx, PMI2" {
		t.Errorf("with two: %s", got)
	}
	pmix := m.library(m.image+debianLib, "libpmix.so.2.13.7", "int PMIx_Init(void) { return 0; }")
	lib := m.library(m.image+debianLib, "libmpi.so.40.40.7", openmpi+" int PMIx_Init(void); int x(void) { return PMIx_Init(); }", pmix)
	m.gcc(m.image+"/bin/program", calls, lib, pmix)
	if got := speaks(); got != "PMIx 5.0" {
		t.Errorf("with libpmix: %s", got)
	}
	m.imageMPI("libmpi.so.12.4.1", mpich)
	if got := speaks(); got != "PMI2" {
		t.Errorf("MPICH: %s", got)
	}
}

// Plugins are found where the container has them, mounted or not; in a directory of the
// whole system other names with the same beginning belong to others.
func TestPluginDirs(t *testing.T) {
	m := newMachine(t)
	for _, lib := range []string{debianLib, "/opt/mpi/lib"} {
		m.library(m.image+lib, "libmpi.so.40.30.4", openmpi)
		for _, dir := range []string{"/openmpi/lib/openmpi3", "/openmpi5"} {
			m.write(m.image+lib+dir+"/mca_pmix_s1.so", "")
		}
	}
	m.write(m.node+"/openmpi/openmpi6/mca_pmix_ext3x.so", "")
	v := linker.NewView(m.request.Image, newWitnesses())
	defer v.Close()
	v.Mount([]specs.Mount{{Source: "/openmpi", Destination: "/opt/mpi/lib/openmpi/lib", Options: []string{"bind"}}}, m.request.Host)
	l := loader{linker.New(v, "amd64", nil)}
	for lib, want := range map[string]string{
		debianLib:      debianLib + "/openmpi " + debianLib + "/openmpi/lib/openmpi3",
		"/opt/mpi/lib": "/opt/mpi/lib/openmpi /opt/mpi/lib/openmpi5 /opt/mpi/lib/openmpi/lib/openmpi6",
	} {
		o, err := l.Open(lib + "/libmpi.so.40")
		m.check(err)
		mpi, _ := identifyMPI(o)
		if got := strings.Join(l.pluginDirs(mpi), " "); got != want {
			t.Errorf("of %s: %s, want %s", lib, got, want)
		}
	}
}

// A site without profiles also gets hints, and nothing else.
func TestHintWithoutProfiles(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.4.1", mpich)
	m.request.Profiles = nil
	m.expect()
	m.request.Env = append(m.request.Env, "SLURM_NTASKS=3", "SLURM_PROCID=0")
	m.expect("hint: this step offers no PMI, and MPICH (libmpi.so.12.4.1) needs PMI2: each of its 3 tasks will run alone, as rank 0 of 1; use srun --mpi=pmi2")
	m.request.Env = append(m.request.Env, "PMIX_RANK=0")
	m.expect("hint: this step offers PMIx, and MPICH (libmpi.so.12.4.1) needs PMI2: its 3 tasks will not find each other; use srun --mpi=pmi2")
	m.request.Env[3] = "PMI_FD=10"
	m.expect()
	m.request.Env = m.request.Env[:3]
	m.gcc(m.image+"/bin/program", "int main(void) { return 0; }")
	m.expect()
}
