package mpi

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	several   = "SLURM_NTASKS=2"
	ofMPICH   = "hint: this step offers PMIx, and MPICH (libmpi.so.12.1.0) needs PMI2: its 2 tasks will not find each other; use srun --mpi=pmi2"
	ofSite    = "hint: this step offers PMIx, and MPICH (libmpi.so.12.4.1) needs PMI2: its 2 tasks will not find each other; use srun --mpi=pmi2"
	shell     = "#include <unistd.h>\nint main(void) { return execve(\"/bin/x\", 0, 0); }"
	noMPI     = "int main(void) { return 0; }"
	otherMPI  = "hint: this step offers PMIx, and MPICH (which) needs PMI2: its 2 tasks will not find each other; use srun --mpi=pmi2"
	slurmsEnv = "SLURM_PROCID=0 PMIX_RANK=0 " + several
)

// wrapping is a machine with an MPI in the image and another of the site's, and
// programs with and without MPI, in a step that offers another PMI.
func wrapping(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.request.Profiles = nil
	m.request.Env = append(m.request.Env, strings.Fields(slurmsEnv)...)
	for _, name := range []string{"sh", "env", "python3", "mpirun", "tool"} {
		m.gcc(m.image+"/bin/"+name, shell)
	}
	m.gcc(m.image+"/bin/plain", noMPI)
	m.request.Cwd = "/srv"
	m.write(m.image+"/srv/run.sh", "#!/bin/sh\nset -e # program\ncd /tmp && echo program\nexport A=b; A=c exec program -x \"$@\"\n")
	m.write(m.image+"/srv/without.sh", "#!/bin/sh\n# program\necho program; ls /bin/program; cat <program >out\nmpirun -np 2 program\nplain\n")
	m.write(m.image+"/srv/outer.sh", "if true; then\n\tenv A=b sh ./run.sh\nfi\n")
	m.write(m.image+"/srv/circle.sh", "#!/bin/sh\n./circle.sh\nsh circle.sh\n")
	m.write(m.image+"/srv/arguments.sh", "#!/bin/sh\nexec \"$@\"\n")
	m.write(m.image+"/srv/solve.py", "import os\nfrom mpi4py import MPI\nprint(MPI)\n")
	m.write(m.image+"/srv/plot.py", "# import mpi4py\nimport numpy\nprint('import mpi4py')\n")
	m.write(m.image+"/srv/tool.py", "#!/usr/bin/env python3\nimport os, mpi4py.futures\n")
	return m
}

// mpi4py installs mpi4py for the image's Python, linked with the given libraries.
func (m *machine) mpi4py(prefix string, libraries ...string) {
	m.t.Helper()
	m.gcc(m.image+prefix+"/lib/python3.11/site-packages/mpi4py/MPI.cpython-311.so",
		"int MPI_Init(void); int PyInit_MPI(void) { return MPI_Init(); }", append([]string{"-shared", "-fPIC"}, libraries...)...)
}

// Only a command that leads to an MPI program gets a hint, although the image has an
// MPI in any case.
func TestHintOfCommands(t *testing.T) {
	m := wrapping(t)
	m.mpi4py("/usr", m.image+debianLib+"/libmpi.so.12")
	for command, want := range map[string]string{
		"sh -c exec_/bin/program":             ofMPICH,
		"sh -c cd_/tmp;_exec_env_A=b_program": ofMPICH,
		"sh -c echo_program":                  "",
		"sh -c plain":                         "",
		"sh run.sh":                           ofMPICH,
		"./run.sh":                            ofMPICH,
		"sh ./outer.sh":                       ofMPICH,
		"sh without.sh":                       "",
		"sh circle.sh":                        "",
		"./arguments.sh program":              ofMPICH,
		"./arguments.sh plain":                "",
		"env A=b program":                     ofMPICH,
		"env -i plain program":                "",
		"tool ./program":                      "",
		"tool /bin/program":                   ofMPICH,
		"mpirun -np 2 program":                "",
		"env mpirun program":                  "",
		"program":                             ofMPICH,
		"plain program":                       "",
		"python3 solve.py":                    ofMPICH,
		"python3 -u solve.py plot.py":         ofMPICH,
		"python3 plot.py solve.py":            "",
		"python3 -m mpi4py.futures plot.py":   ofMPICH,
		"python3 -c import_mpi4py":            ofMPICH,
		"python3 -c print('mpi4py')":          "",
		"sh -c python3_solve.py":              ofMPICH,
		"./tool.py":                           ofMPICH,
		"none":                                "",
	} {
		var args []string
		for _, word := range strings.Fields(command) {
			args = append(args, strings.ReplaceAll(word, "_", " "))
		}
		m.request.Program, m.request.Args = args[0], args[1:]
		if got := m.plan(); got != want {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
}

// A program that runs on the site's MPI gets a hint about that MPI, each time.
func TestHintOfSitesMPI(t *testing.T) {
	m := wrapping(t)
	m.mpi4py("/usr/local")
	m.request.Profiles = []Profile{{Name: "site", Replace: []string{"/opt/site/libmpi.so.12"}}}
	m.request.CacheDir = t.TempDir()
	for range 2 {
		m.request.Program, m.request.Args = "sh", []string{"run.sh"}
		m.expect(ofSite)
		m.request.Args = []string{"without.sh"}
		if got := m.plan(); strings.Contains(got, "hint") || !strings.Contains(got, "/opt/site/libmpi.so.12.4.1 at") {
			t.Errorf("no MPI is used:\n%s", got)
		}
		m.request.Program, m.request.Args = "python3", []string{"solve.py"} // its mpi4py opens the library by name
		m.expect(ofSite)
	}
	if len(m.kept()) != 3 {
		t.Errorf("%d decisions for three commands", len(m.kept()))
	}
	m.request.Profiles = nil
	if got := m.plan(); got != "" {
		t.Errorf("it is not known which MPI it opens:\n%s", got)
	}
}

// A virtual environment's mpi4py is found by the path that Python is called with, the
// job's by PYTHONPATH.
func TestHintOfPythonModules(t *testing.T) {
	m := wrapping(t)
	m.check(os.MkdirAll(m.image+"/opt/venv/bin", 0o755))
	m.check(os.Symlink("/bin/python3", m.image+"/opt/venv/bin/python3"))
	m.mpi4py("/opt/venv", m.image+debianLib+"/libmpi.so.12")
	m.request.Args = []string{"solve.py"}
	m.request.Program = "python3"
	m.expect()
	m.request.Env = append(m.request.Env, "PYTHONPATH=/nowhere:/opt/venv/lib/python3.11/site-packages")
	m.expect(ofMPICH)
	m.request.Env = m.request.Env[:len(m.request.Env)-1]
	m.request.Program = "/opt/venv/bin/python3"
	m.expect(ofMPICH)
	m.request.Env[0] = "PATH=/opt/venv/bin:/bin"
	m.request.Program = "python3"
	m.expect(ofMPICH)
}

// A static program's MPI is recognised by names that no other has.
func TestHintOfStaticPrograms(t *testing.T) {
	for name, test := range map[string]struct{ text, offer, want string }{
		"MPICH":            {calls + mpich + "int MPIR_Process;int PMIx_Init;", "PMIX_RANK=0", otherMPI},
		"MPICH, served":    {calls + mpich + "int MPIR_Process;", "PMI_FD=10", ""},
		"MPICH on PMIx":    {calls + mpich + "int MPIR_Process, pmix_globals;", "PMIX_RANK=0", ""},
		"Open MPI, served": {calls + openmpi + "int PMIx_Init(void){return 0;}", "PMIX_RANK=0", ""},
		"Open MPI": {
			calls + openmpi + "int PMIx_Init(void){return 0;}", "PMI_FD=10",
			"hint: this step offers PMI2, and Open MPI (which) needs PMIx: its 2 tasks will not find each other; use srun --mpi=pmix",
		},
		"Open MPI 4":   {calls + openmpi + "int mca_pmix_s2_component;", "PMI_FD=10", ""},
		"unknown":      {calls + mpich, "PMIX_RANK=0", ""},
		"none":         {noMPI + "int MPIR_Process;", "PMIX_RANK=0", ""},
		"served, none": {noMPI, "A=b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.siteMPI("libmpi.so.12.4.1", mpich)
			m.gcc(m.image+"/bin/which", test.text, "-static")
			m.request.Program = "which"
			m.request.Env = append(m.request.Env, "SLURM_PROCID=0", several, test.offer)
			for _, profiles := range [][]Profile{m.request.Profiles, nil} {
				m.request.Profiles, m.request.CacheDir = profiles, t.TempDir()
				for range 2 {
					got := m.plan()
					if i := strings.Index(got, "hint: "); i >= 0 {
						got = got[i:]
					} else {
						got = ""
					}
					if got != test.want {
						t.Errorf("got %q, want %q", got, test.want)
					}
				}
			}
		})
	}
	// The library that it lacks is not an MPI.
	m := wrapping(t)
	lib := m.library(m.image+debianLib, "libmpi.so.12.1.0", mpich+" int MPIR_Process;")
	m.gcc(m.image+"/bin/program", "extern int MPIR_Process; int MPI_Init(void); int main(void) { return MPI_Init() + MPIR_Process; }", lib)
	if got := m.plan(); !strings.HasPrefix(got, "hint: ") {
		t.Errorf("with its library: %q", got)
	}
	m.check(os.RemoveAll(m.image + debianLib))
	m.expect()
}

// Reading a script ends, whatever it contains.
func TestHintOfHostileScripts(t *testing.T) {
	m := wrapping(t)
	m.check(unix.Mkfifo(m.image+"/srv/pipe.sh", 0o777))
	m.write(m.image+"/srv/binary.sh", "program\n\x00")
	m.write(m.image+"/srv/long.sh", strings.Repeat("no-such-command\n", 1<<15)+"program\n")
	m.write(m.image+"/srv/deep.sh", "#!/bin/sh\n"+strings.Repeat("sh -c ", 50)+"program\n")
	m.check(os.Symlink(m.node+"/srv", m.image+"/srv/out"))
	m.write(m.node+"/srv/outside.sh", "program\n")
	for _, script := range []string{"pipe.sh", "binary.sh", "long.sh", "deep.sh", "out/outside.sh"} {
		m.request.Program, m.request.Args = "sh", []string{script}
		if got := m.plan(); got != "" {
			t.Errorf("%s: got %q", script, got)
		}
	}
}
