package mpi

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// reaching is a machine on which several programs have their own MPI: covered says
// which of them are covered by the site's, by their directories.
func reaching(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.gcc(m.image+"/bin/sh", shell)
	for _, name := range []string{"/bin/env", "/bin/numactl", "/bin/which", "/bin/tool", "/bin/conda", "/bin/bash", "/bin/time", "/lib64/ld-linux.so"} {
		m.copy("/bin/sh", name)
	}
	m.write(m.image+"/etc/profile.d/mpi.sh", "LD_LIBRARY_PATH=/opt/c\n")
	lib := m.library(m.image+"/opt/a", "libmpi.so.12.1.0", mpich)
	m.gcc(m.image+"/opt/a/app", calls, lib, "-Wl,-rpath,$ORIGIN")
	m.gcc(m.image+"/bin/plain", calls, lib)
	m.copy("/bin/sh", "/bin/echo")
	m.copy("/bin/sh", "/bin/launch")
	for _, dir := range []string{"/opt/b", "/opt/c", "/srv/conda/envs/sim/bin"} {
		m.copy("/opt/a/libmpi.so.12.1.0", dir+"/libmpi.so.12.1.0")
		m.check(os.Symlink("libmpi.so.12.1.0", m.image+dir+"/libmpi.so.12"))
		m.copy("/opt/a/app", dir+"/app")
	}
	m.check(os.MkdirAll(m.image+"/srv/conda/envs/sim/conda-meta", 0o755))
	m.request.Program = "sh"
	m.request.Env = append(m.request.Env, "APP=/opt/a/app", "MAMBA_ROOT_PREFIX=/srv/conda", "MODULEPATH=/srv/modules")
	m.write(m.image+"/srv/modules/mpich/4.0", "#%Module\nset root /opt/none\nprepend-path PATH $root/bin\n")
	m.write(m.image+"/srv/modules/mpich/4.1", "#%Module\nset root /opt/b\nprepend-path LD_LIBRARY_PATH $root\nsetenv MPI_HOME $root\n")
	m.write(m.image+"/srv/modules/lua.lua", "local root = \"/opt\"\nprepend_path(\"LD_LIBRARY_PATH\", pathJoin(root, \"c\"))\n")
	m.write(m.image+"/srv/env.sh", "export LD_LIBRARY_PATH=$1:$LD_LIBRARY_PATH\n")
	m.write(m.image+"/srv/here.sh", "#!/bin/sh -e\ncd \"$(dirname \"$(readlink -f \"$0\")\")\"\nexec ../opt/b/app \"$@\"\n")
	m.write(m.image+"/srv/wrap.sh", "#!/usr/bin/env -S APP=/opt/c/app sh\nshift\nexec $APP\n")
	return m
}

// copy copies a file of the image, which is faster than compiling another.
func (m *machine) copy(from, to string) {
	m.t.Helper()
	data, err := os.ReadFile(m.image + from)
	m.check(err)
	m.write(m.image+to, string(data))
}

func (m *machine) covered() string {
	m.t.Helper()
	var dirs []string
	for line := range strings.Lines(m.plan()) {
		if rest, ok := strings.CutPrefix(line, "/opt/site/libmpi.so.12.4.1 at "); ok {
			dirs = append(dirs, strings.TrimSuffix(strings.TrimSpace(rest), "/libmpi.so.12.1.0"))
		}
	}
	return strings.Join(dirs, " ")
}

// A script is followed to the programs that it executes, with the variables that it
// sets for them.
func TestScriptsAreFollowed(t *testing.T) {
	m := reaching(t)
	for text, want := range map[string]string{
		"exec /opt/a/app": "/opt/a",
		"/opt/a/app; /opt/b/app -x && (/opt/c/app | tool)": "/opt/a /opt/b /opt/c",
		"exec $APP":                                                   "/opt/a",
		"exec \"${APP}\" --x":                                         "/opt/a",
		"${OTHER:-/opt/b/app}":                                        "/opt/b",
		"X=/opt/c\nY=$X/app; \"$Y\"":                                  "/opt/c",
		"for x in /opt/b /opt/c; do $x/app; done":                     "/opt/b",
		"LD_LIBRARY_PATH=/opt/b plain":                                "/opt/b",
		"export LD_LIBRARY_PATH=/opt/c:$LD_LIBRARY_PATH\nplain":       "/opt/c",
		"LD_LIBRARY_PATH=/opt/b true; plain":                          "",
		"cd /opt; LD_LIBRARY_PATH=b plain":                            "/opt/b",
		"env LD_LIBRARY_PATH=/opt/b numactl -N 0 plain":               "/opt/b",
		". /srv/env.sh /opt/b; plain":                                 "/opt/b",
		"cd /srv\nsource ./env.sh /opt/c\nexec plain":                 "/opt/c",
		"module load mpich; plain":                                    "/opt/b",
		"module load mpich/4.1 lua\nplain":                            "/opt/b /opt/c",
		"conda activate sim; app":                                     "/srv/conda/envs/sim/bin",
		"conda run -n sim app -x":                                     "/srv/conda/envs/sim/bin",
		"source /srv/conda/envs/sim/bin/activate; app":                "/srv/conda/envs/sim/bin",
		"eval \"exec /opt/a/app\"":                                    "/opt/a",
		"sh -c 'sh -c \"/opt/b/app\"'":                                "/opt/b",
		"$(which /opt/a/app)":                                         "/opt/a",
		"/srv/here.sh x":                                              "/opt/b",
		"/srv/wrap.sh 1 2":                                            "/opt/c",
		"cat <<END\n/opt/a/app\nEND\n/opt/b/app":                      "/opt/b",
		"echo /opt/a/app >/opt/b/app # /opt/c/app":                    "/opt/a",
		"LD_PRELOAD=/opt/a/libmpi.so.12 plain":                        "/opt/a",
		"bash -lc plain":                                              "/opt/c",
		"/lib64/ld-linux.so --library-path /opt/b /bin/plain":         "/opt/b",
		"env time -f '%e s' /opt/a/app":                               "/opt/a",
		"launch -n 1 /opt/a/app x":                                    "/opt/a",
		"echo '/opt/a/app\n/opt/b/app'":                               "",
		"mpirun -np 2 /opt/a/app":                                     "",
		"set -- /opt/a/app; [ -x /opt/b/app ] && exec \\\n/opt/c/app": "/opt/c",
	} {
		m.request.Args = []string{"-c", text}
		if got := m.covered(); got != want {
			t.Errorf("%q: the site's MPI is put over %q, want %q", text, got, want)
		}
	}
}

// Expanding texts that grow quickly ends soon.
func TestHostileScripts(t *testing.T) {
	m := reaching(t)
	for name, text := range map[string]string{
		"doubling":     "X=aaaaaaaaaaaaaaaa\n" + strings.Repeat("X=$X$X\n", 1000) + strings.Repeat("$X$X$X$X ", 10000),
		"nesting":      strings.Repeat("$(", 100000),
		"names":        strings.Repeat("$(dirname \"", 20000),
		"arguments":    strings.Repeat("$@ ", 80000),
		"growing":      "X='eval $X;eval $X;eval $X'\n$X; eval $X;" + strings.Repeat("$(eval $X)", 100),
		"evaluation":   "X='eval $X'\n$X; eval $X",
		"sources":      ". /srv/hostile.sh\n. /srv/hostile.sh\n",
		"quotes":       strings.Repeat("\"'`", 80000),
		"texts":        strings.Repeat("<<a ", 60000),
		"no end":       "\"",
		"a variable":   "${",
		"a dollar":     "$",
		"a backslash":  "\\",
		"parentheses":  strings.Repeat("$()", 80000),
		"environments": strings.Repeat("conda activate x\n", 10000),
	} {
		m.write(m.image+"/srv/hostile.sh", text)
		m.request.Args = append([]string{"/srv/hostile.sh"}, strings.Split(strings.Repeat("argument ", 1000), " ")...)
		begun := time.Now()
		m.plan()
		if took := time.Since(begun); took > pace.Of(5*time.Second) { // it takes milliseconds
			t.Errorf("%s: it takes %v", name, took)
		}
	}
}

// A kept decision for a command depends on its arguments, its scripts, and the
// variables that they read.
func TestRecallOfCommands(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*machine)
		holds  bool
	}{
		"nothing":            {func(*machine) {}, true},
		"another variable":   {func(m *machine) { m.request.Env = append(m.request.Env, "SLURM_PROCID=7") }, true},
		"the arguments":      {func(m *machine) { m.request.Args = []string{"/srv/run.sh", "x"} }, false},
		"the script":         {func(m *machine) { m.write(m.image+"/srv/run.sh", "/opt/b/app") }, false},
		"what it reads":      {func(m *machine) { m.write(m.image+"/srv/read.sh", "A=/opt/c/app") }, false},
		"a variable of it":   {func(m *machine) { m.request.Env = append(m.request.Env, "APP=/opt/c/app") }, false},
		"what was not there": {func(m *machine) { m.write(m.image+"/srv/none.sh", "/opt/c/app") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := reaching(t)
			m.write(m.image+"/srv/run.sh", ". /srv/read.sh; . /srv/none.sh; $APP")
			m.write(m.image+"/srv/read.sh", "A=b")
			m.request.Args = []string{"/srv/run.sh"}
			m.request.CacheDir = t.TempDir() + "/memory"
			m.plan()
			if !m.recalls() {
				t.Fatal("it is found out again though nothing has changed")
			}
			tick(t)
			test.change(m)
			if recalled := m.recalls(); recalled != test.holds {
				t.Errorf("recalled: %v", recalled)
			}
			warm := m.plan()
			m.request.CacheDir = ""
			if cold := m.plan(); warm != cold {
				t.Errorf("with what was kept:\n%s\nwithout:\n%s", warm, cold)
			}
		})
	}
}
