package mpi

import (
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const extension = "MPI.cpython-311-x86_64-linux-gnu.so"

// interpreted is a machine with a Python, and in /made an MPI and Python extensions
// that tests copy to where wheels and conda have them.
func interpreted(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.gcc(m.image+"/usr/bin/python3.11", shell)
	m.check(os.Symlink("python3.11", m.image+"/usr/bin/python3"))
	m.copy("/usr/bin/python3.11", "/bin/sh")
	lib := m.library(m.image+"/made", "libmpi.so.12.1.0", mpich)
	m.gcc(m.image+"/made/packed", mpich, "-shared", "-fPIC", "-Wl,-soname,libmpi-1a2b3c4d.so.12.1.0")
	const calls = "int MPI_Init(void); int PyInit_MPI(void) { return MPI_Init(); }"
	for name, args := range map[string][]string{
		"venv":  {lib, "-Wl,-rpath,$ORIGIN/../../../../lib"},
		"plain": {lib},
		"wheel": {m.image + "/made/packed", "-Wl,-rpath,$ORIGIN/../mpi4py.libs"},
		"petsc": {lib, "-Wl,-rpath,/opt/mpi"},
	} {
		m.gcc(m.image+"/made/"+name, calls, append([]string{"-shared", "-fPIC"}, args...)...)
	}
	m.request.Env = []string{"PATH=/usr/bin:/bin", "HOME=/home/alice"}
	m.request.Program = "python3"
	return m
}

// mpiIn puts the image's MPI into a directory.
func (m *machine) mpiIn(dir string) {
	m.t.Helper()
	m.copy("/made/libmpi.so.12.1.0", dir+"/libmpi.so.12.1.0")
	m.check(os.Symlink("libmpi.so.12.1.0", m.image+dir+"/libmpi.so.12"))
}

// venv makes a virtual environment with mpi4py and the MPI of PyPI's wheel.
func (m *machine) venv(prefix, settings string) {
	m.t.Helper()
	m.mpiIn(prefix + "/lib")
	m.copy("/made/venv", prefix+"/lib/python3.11/site-packages/mpi4py/"+extension)
	m.write(m.image+prefix+"/pyvenv.cfg", "home = /usr/bin\n"+settings)
	m.check(os.MkdirAll(m.image+prefix+"/bin", 0o755))
	m.check(os.Symlink("/usr/bin/python3", m.image+prefix+"/bin/python"))
}

// However Python finds mpi4py, its MPI is found and covered.
func TestPythonLayouts(t *testing.T) {
	const sites = "/lib/python3.11/site-packages"
	for name, test := range map[string]struct {
		prepare func(*machine)
		command string
		want    string
	}{
		"virtual environment": {func(m *machine) { m.venv("/opt/venv", "") }, "/opt/venv/bin/python|/run.py", "/opt/venv/lib"},
		"activated":           {func(m *machine) { m.venv("/opt/venv", "") }, "sh|-c|. /opt/venv/bin/activate; python -u /run.py", "/opt/venv/lib"},
		"by a script of it": {func(m *machine) {
			m.venv("/opt/venv", "")
			m.write(m.image+"/opt/venv/bin/solve", "#!/opt/venv/bin/python\nfrom solver.cli import main\n")
			m.write(m.image+"/opt/venv"+sites+"/solver/cli.py", "from . import core\n")
			m.write(m.image+"/opt/venv"+sites+"/solver/core.py", "def f():\n    from mpi4py import MPI\n")
		}, "/opt/venv/bin/solve|x", "/opt/venv/lib"},
		"by a long path": {func(m *machine) {
			m.venv("/opt/venv", "")
			m.write(m.image+"/bin/solve", "#!/bin/sh\n'''exec' \"/opt/venv/bin/python\" \"$0\" \"$@\"\n' '''\nimport mpi4py.MPI\n")
		}, "solve", "/opt/venv/lib"},
		"of the system, in an environment": {func(m *machine) {
			m.venv("/opt/venv", "include-system-site-packages = true\n")
			m.check(os.RemoveAll(m.image + "/opt/venv" + sites + "/mpi4py"))
			m.copy("/made/petsc", "/usr/lib/python3/dist-packages/mpi4py/"+extension)
			m.mpiIn("/opt/mpi")
		}, "/opt/venv/bin/python|-c|import mpi4py", "/opt/mpi"},
		"not of the system": {func(m *machine) {
			m.venv("/opt/venv", "")
			m.check(os.RemoveAll(m.image + "/opt/venv" + sites + "/mpi4py"))
			m.copy("/made/petsc", "/usr/lib/python3/dist-packages/mpi4py/"+extension)
			m.mpiIn("/opt/mpi")
		}, "/opt/venv/bin/python|-c|import mpi4py", ""},
		"packed by auditwheel": {func(m *machine) {
			m.copy("/made/wheel", "/usr/local"+sites+"/mpi4py/"+extension)
			m.copy("/made/packed", "/usr/local"+sites+"/mpi4py.libs/libmpi-1a2b3c4d.so.12.1.0")
		}, "python3|/run.py", "/usr/local" + sites + "/mpi4py.libs/libmpi-1a2b3c4d.so.12.1.0"},
		"conda": {func(m *machine) {
			m.mpiIn("/opt/conda/lib")
			m.copy("/made/plain", "/opt/conda"+sites+"/mpi4py/"+extension)
			m.gcc(m.image+"/opt/conda/bin/python3.11", shell, "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib")
		}, "/opt/conda/bin/python3.11|-m|mpi4py.run|x.py", "/opt/conda/lib"},
		"of the user": {func(m *machine) {
			m.mpiIn("/home/alice/.local/lib")
			m.copy("/made/venv", "/home/alice/.local"+sites+"/mpi4py/"+extension)
		}, "python3|/run.py", "/home/alice/.local/lib"},
		"by a file of paths": {func(m *machine) {
			m.write(m.image+"/usr/local"+sites+"/own.pth", "# comment\nimport os\n/srv/none\n/srv/packages\n")
			m.copy("/made/petsc", "/srv/packages/mpi4py/"+extension)
			m.mpiIn("/opt/mpi")
		}, "python3|/run.py", "/opt/mpi"},
		"by PYTHONPATH": {func(m *machine) {
			m.copy("/made/petsc", "/srv/packages/mpi4py/"+extension)
			m.mpiIn("/opt/mpi")
		}, "sh|-c|PYTHONPATH=/none:/srv/packages exec python3 /run.py", "/opt/mpi"},
		"built for several, as on PyPI": {func(m *machine) {
			m.venv("/opt/venv", "")
			m.check(os.Remove(m.image + "/opt/venv" + sites + "/mpi4py/" + extension))
			m.copy("/made/plain", "/opt/venv"+sites+"/mpi4py/MPI.mpich.cpython-311-x86_64-linux-gnu.so")
			m.copy("/made/plain", "/opt/venv"+sites+"/mpi4py/MPI.openmpi.cpython-311-x86_64-linux-gnu.so")
		}, "/opt/venv/bin/python|/run.py", "/opt/venv/lib"},
		"another package": {func(m *machine) {
			m.copy("/made/petsc", "/usr/local"+sites+"/petsc4py/lib/linux-gnu/PETSc.cpython-311-x86_64-linux-gnu.so")
			m.mpiIn("/opt/mpi")
		}, "python3|-c|from petsc4py import PETSc", "/opt/mpi"},
		"a package below another": {func(m *machine) {
			m.copy("/made/petsc", "/usr/local"+sites+"/horovod/torch/mpi_lib_v2.cpython-311-x86_64-linux-gnu.so")
			m.copy("/made/petsc", "/usr/local"+sites+"/other/torch/mpi_lib_v2.cpython-311-x86_64-linux-gnu.so")
			m.mpiIn("/opt/mpi")
		}, "python3|-c|import horovod.torch as hvd", "/opt/mpi"},
		"not seen to be imported": {func(m *machine) { m.venv("/opt/venv", "") }, "/opt/venv/bin/python|-c|exec(input())", "/opt/venv/lib"},
		"modules in a circle": {func(m *machine) {
			m.write(m.image+"/srv/circle.py", "import circle, other\nfrom . import circle\n")
			m.write(m.image+"/srv/other.py", "from circle import *\nfrom ... import x\nfrom .... import y\n")
		}, "python3|/srv/circle.py", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := interpreted(t)
			m.write(m.image+"/run.py", "import os\nfrom mpi4py import MPI\n")
			test.prepare(m)
			command := strings.Split(test.command, "|")
			m.request.Program, m.request.Args = command[0], command[1:]
			if got := m.covered(); got != test.want {
				t.Errorf("the site's MPI is put over %q, want %q:\n%s", got, test.want, m.plan())
			}
		})
	}
}

// An environment in the user's home is found on the host, and covered where the
// container has it.
func TestPythonOfTheHome(t *testing.T) {
	m := interpreted(t)
	m.venv("/home/alice/venv", "")
	m.write(m.image+"/home/alice/run.py", "from mpi4py import MPI\n")
	m.check(os.MkdirAll(m.node+"/scratch", 0o755))
	m.check(os.MkdirAll(m.node+"/home", 0o755))
	m.check(os.Rename(m.image+"/home/alice", m.node+"/home/alice"))
	m.check(os.Rename(m.node+"/home/alice/venv", m.node+"/scratch/venv"))
	m.check(os.Symlink("/scratch/venv", m.node+"/home/alice/venv"))
	for _, dir := range []string{"/home/alice", "/scratch"} {
		m.request.Mounts = append(m.request.Mounts, specs.Mount{Destination: dir, Source: dir, Options: []string{"rbind"}})
	}
	m.request.Program, m.request.Args = "/home/alice/venv/bin/python", []string{"/home/alice/run.py"}
	if got := m.covered(); got != "/scratch/venv/lib" {
		t.Errorf("the site's MPI is put over %q:\n%s", got, m.plan())
	}
}

// A warning names an MPI that cannot be replaced, once on each host, and explain prints
// the same.
func TestSaysWhoseMPI(t *testing.T) {
	m := interpreted(t)
	m.venv("/opt/venv", "")
	m.library(m.image+debianLib, "libmpi.so.12.0.0", mpich)
	m.write(m.image+"/run.py", "from mpi4py import MPI\n")
	m.request.Program, m.request.Args = "/opt/venv/bin/python", []string{"/run.py"}
	m.request.Profiles[0].ABI = ABIStrict
	const why = "mpi.site: the image's libmpi.so.12.1.0 and the site's libmpi.so.12.4.1 are not the same version, as abi = \"strict\" requires"
	const said = "warning: " + why + "; mpi4py in /opt/venv/lib/python3.11/site-packages uses its own MPICH (libmpi.so.12.1.0) in /opt/venv/lib"
	m.expect(said)
	m.request.CacheDir = t.TempDir()
	m.expect(said)
	m.expect(said) // the kept decision says the same
	m.request.Env = append(m.request.Env, "SLURM_LOCALID=1")
	if got := m.plan(); strings.Contains(got, "warning") {
		t.Errorf("the second task of a host repeats the warning:\n%s", got)
	}
	m.request.Env = m.request.Env[:len(m.request.Env)-1]
	m.request.CacheDir, m.request.Profiles[0].ABI = "", ABIMajor
	m.library(m.image+"/opt/venv/lib", "libmpi.so.12.1.0", openmpi)
	m.expect("warning: mpi4py in /opt/venv/lib/python3.11/site-packages uses its own Open MPI (libmpi.so.12.1.0) in /opt/venv/lib: no profile of the site matches it",
		"/opt/site/libmpi.so.12.4.1 at "+debianLib+"/libmpi.so.12.0.0")
	m.request.Env = append(m.request.Env, "SLURM_PROCID=2", "SLURM_LOCALID=0")
	if got := m.plan(); strings.Contains(got, "warning") {
		t.Errorf("the first task of another host repeats a warning that holds for all hosts:\n%s", got)
	}
	m.request.Env = m.request.Env[:len(m.request.Env)-2]
	if got := m.plan(); strings.Contains(got, "LD_LIBRARY_PATH=/run/.ocishim/mpi/first") {
		t.Errorf("what is known to have another is given the site's:\n%s", got)
	}
	m.gcc(m.image+"/bin/static", calls+mpich+"int MPIR_Process;", "-static")
	m.request.Program, m.request.Args = "sh", []string{"-c", "exec static"}
	m.expect("warning: /bin/static uses its own MPICH (static) in /bin: it is linked statically")
	m.copy("/bin/static", "/bin/x\n\x1b[2J")
	m.request.Args = []string{"-c", "exec 'x\n\x1b[2J'"}
	m.expect("warning: /bin/x??[2J uses its own MPICH (x??[2J) in /bin: it is linked statically")
}
