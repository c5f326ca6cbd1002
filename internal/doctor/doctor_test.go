package doctor

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
)

// A body is a host as files, and what happens to a user who does something there.
type body struct {
	files  map[string]string // a name that ends in / is a directory
	modes  map[string]os.FileMode
	deeds  map[string]string // the error of a deed that fails
	answer map[string]string // of programs
	config func(c *config.Config)
	env    []string
	job    bool
}

// healthy is a host that lacks nothing.
func healthy(t *testing.T) body {
	t.Helper()
	run, err := os.ReadFile("../../oci.conf.d/run.conf")
	if err != nil {
		t.Fatal(err)
	}
	return body{
		files: map[string]string{
			"/usr/local/bin/ocishim": "", "/usr/local/bin/ocishim-image": "", "/run/ocishim/": "", "/tmp/": "", "/dev/shm/": "", "/home/alice/": "",
			"/proc/self/mountinfo":            "20 1 0:1 / /proc rw - proc proc rw\n21 1 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n22 1 0:3 / /home rw - nfs4 server rw\n",
			"/proc/self/status":               "Name:\tx\nSeccomp:\t0\nNoNewPrivs:\t0\n",
			"/proc/sys/kernel/osrelease":      "6.1.0\n",
			"/etc/slurm/slurm.conf":           "",
			"/etc/slurm/oci.conf":             string(run),
			"/etc/resolv.conf":                "nameserver 192.0.2.1\n",
			"/etc/ssl/cert.pem":               "",
			"/proc/driver/nvidia/version":     "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Release Build\n",
			"/usr/lib64/libcuda.so.570.86.15": "", "/dev/nvidia0": "", "/dev/nvidia-uvm": "", "/dev/dri/renderD128": "", "/dev/infiniband/uverbs0": "",
			"/etc/cdi/nvidia.yaml": "devices:\n- containerEdits:\n    deviceNodes:\n    - path: /dev/nvidia0\n",
		},
		modes: map[string]os.FileMode{"/run/ocishim/": 0o777 | os.ModeSticky, "/tmp/": 0o777 | os.ModeSticky, "/dev/shm/": 0o777 | os.ModeSticky},
		answer: map[string]string{
			"slurmd":   "slurm 24.11.5\n",
			"scontrol": "ProctrackType = proctrack/cgroup\nTaskPlugin = task/cgroup,task/affinity\nSlurmdSpoolDir = /var/spool/slurmd\nPropagateResourceLimits = NONE\n",
		},
		env: []string{"HOME=/home/alice"},
	}
}

func (b body) patient(t *testing.T) *Patient {
	t.Helper()
	root := t.TempDir()
	for name, content := range b.files {
		path := filepath.Join(root, name)
		dir := filepath.Dir(path)
		if strings.HasSuffix(name, "/") {
			dir = path
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, mode := range b.modes {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	tree, err := host.Open(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tree.Close)
	c := config.Default()
	if b.config != nil {
		b.config(c)
	}
	return &Patient{
		Host: tree, Config: c, Version: "1", Program: "/usr/local/bin/ocishim", UID: 1000, GID: 1000, User: "alice", Env: b.env, Job: b.job,
		Do: func(deed string, _ ...string) error {
			if wrong := b.deeds[deed]; wrong != "" {
				return errors.New(wrong)
			}
			return nil
		},
		Ask: func(program string, _ ...string) (string, error) {
			out, found := b.answer[program]
			if !found {
				return "", fmt.Errorf("this host has no %s", program)
			}
			return out, nil
		},
	}
}

func TestHealthy(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a /run/ocishim of root's")
	}
	for _, f := range Examine(healthy(t).patient(t), nil) {
		if f.Status == Warn || f.Status == Fail || f.Fix != "" {
			t.Errorf("%+v", f)
		}
	}
}

// Each thing that breaks has its finding, and says what to do.
func TestBroken(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a /run/ocishim of root's")
	}
	oci := func(old, new string) func(b *body) {
		return func(b *body) {
			was := b.files["/etc/slurm/oci.conf"]
			if b.files["/etc/slurm/oci.conf"] = strings.Replace(was, old, new, 1); b.files["/etc/slurm/oci.conf"] == was {
				t.Fatalf("oci.conf has no %s", old)
			}
		}
	}
	set := func(name, content string) func(b *body) { return func(b *body) { b.files[name] = content } }
	gone := func(name string) func(b *body) { return func(b *body) { delete(b.files, name) } }
	deed := func(name, wrong string) func(b *body) {
		return func(b *body) { b.deeds = map[string]string{name: wrong} }
	}
	both := func(steps ...func(b *body)) func(b *body) {
		return func(b *body) {
			for _, step := range steps {
				step(b)
			}
		}
	}
	denied := deed("userns", "operation not permitted")
	for name, c := range map[string]struct {
		hurt      func(b *body)
		check     string
		status    Status
		what, fix string
	}{
		"no namespaces":        {both(denied, set("/proc/sys/user/max_user_namespaces", "0")), "userns", Fail, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=15000"},
		"Debian's sysctl":      {both(denied, set("/proc/sys/kernel/unprivileged_userns_clone", "0")), "userns", Fail, "unprivileged_userns_clone is 0", "kernel.unprivileged_userns_clone=1"},
		"AppArmor":             {both(denied, set("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")), "userns", Fail, "AppArmor restricts", "/etc/apparmor.d/ocishim"},
		"SELinux":              {both(denied, set("/sys/fs/selinux/enforce", "1")), "userns", Fail, "SELinux enforces", "ausearch"},
		"seccomp":              {both(denied, set("/proc/self/status", "Seccomp:\t2\n")), "userns", Fail, "Seccomp: 2", "RestrictNamespaces=no"},
		"unexplained":          {denied, "userns", Fail, "operation not permitted", "see which of"},
		"hidepid":              {set("/proc/self/mountinfo", "20 1 0:1 / /proc rw - proc proc rw,hidepid=2\n"), "proc", Warn, "hidepid=2", "hidepid=0"},
		"old kernel":           {deed("calls", "openat2 (5.6)"), "kernel", Warn, "lacks openat2", "newer kernel"},
		"no tmpfiles":          {gone("/run/ocishim/"), "state", Warn, "is missing", "tmpfiles.d"},
		"closed state":         {func(b *body) { b.modes["/run/ocishim/"] = 0o755 }, "state", Warn, "mode 755", "tmpfiles.d"},
		"no state":             {deed("state", "no space left on device"), "state", Fail, "no space left", "writable"},
		"closed tmp":           {func(b *body) { b.modes["/tmp/"] = 0o755 }, "tmp", Fail, "mode 755", "chmod 1777"},
		"no shm":               {gone("/dev/shm/"), "shm", Fail, "it does not exist", "mount -t tmpfs"},
		"no home":              {deed("home", "permission denied"), "home", Warn, "permission denied", "mount it"},
		"noexec home":          {set("/proc/self/mountinfo", "22 1 0:3 / /home rw,noexec - nfs4 server rw\n"), "home", Warn, "noexec", "image.store"},
		"no oci.conf":          {gone("/etc/slurm/oci.conf"), "oci.conf", Fail, "Slurm ignores --container", "oci.conf.d"},
		"old Slurm":            {func(b *body) { b.answer["slurmd"] = "slurm 22.05.8\n" }, "oci.conf", Fail, "EnvExclude is known from Slurm 23.02 on", "22.05.conf"},
		"%Z before 26.05":      {oci("--bundle %b", "--bundle %b --cwd %Z"), "oci.conf", Fail, "%Z, which Slurm knows from 26.05", "24.11.5"},
		"%b in root's line":    {oci("kill --all %n", "kill --all --bundle %b %n"), "oci.conf", Fail, "RunTimeKill has %b, which users choose", "use only %n"},
		"unknown pattern":      {oci("--bundle %b", "--bundle %q"), "oci.conf", Fail, "%q, which no Slurm knows", "oci.conf(5)"},
		"misspelt key":         {oci("RunTimeKill", "RunTimeKil"), "oci.conf", Fail, "unknown key RunTimeKil", "write RunTimeKill"},
		"no exec":              {oci("exec /usr", "/usr"), "oci.conf", Warn, "does not begin with exec", "exec /usr/local/bin/ocishim run"},
		"--root":               {oci("ocishim run", "ocishim run --root /x"), "oci.conf", Warn, "has --root", "leave --root out"},
		"another path":         {oci("/usr/local/bin/ocishim run", "/opt/ocishim run"), "oci.conf", Warn, "calls /opt/ocishim", "by the path"},
		"runc beside":          {oci("/usr/local/bin/ocishim delete", "/usr/bin/runc delete"), "oci.conf", Warn, "which is not ocishim", "the same runtime"},
		"no --missing-ok":      {oci("--missing-ok ", ""), "oci.conf", Warn, "lacks --missing-ok", "run.conf"},
		"SLURM_CONF":           {oci(`EnvExclude="^(SLURM_CONF|SLURM_CONF_SERVER)="`, ""), "oci.conf", Warn, "lets SLURM_CONF through", "EnvExclude="},
		"newline":              {oci("\nRunTimeRun=", "\nCreateEnvFile=newline\nRunTimeRun="), "oci.conf", Warn, "loses variables", "null"},
		"ignored config.json":  {oci("\nRunTimeRun=", "\nIgnoreFileConfigJson=true\nRunTimeCreate=\"/usr/local/bin/ocishim create %n\"\nRunTimeRun="), "oci.conf", Fail, "slurmd stops", "image.conf"},
		"not a line":           {oci("\nRunTimeRun=", "\nhello\nRunTimeRun="), "oci.conf", Fail, `"hello" is not KEY=VALUE`, "run.conf"},
		"linuxproc":            {func(b *body) { b.answer["scontrol"] = "ProctrackType = proctrack/linuxproc\n" }, "slurm.conf", Warn, "survives the step", "proctrack/cgroup"},
		"no task/cgroup":       {func(b *body) { b.answer["scontrol"] = "TaskPlugin = task/none\n" }, "slurm.conf", Warn, "not kept", "task/cgroup"},
		"tmpfs per job":        {both(gone("/run/ocishim/"), func(b *body) { b.answer["scontrol"] = "JobContainerType = job_container/tmpfs\n" }), "slurm.conf", Fail, "job's own /tmp", "tmpfiles.d"},
		"limits of the submit": {func(b *body) { b.answer["scontrol"] = "PropagateResourceLimits = ALL\n" }, "slurm.conf", Warn, "locked memory", "Except=MEMLOCK"},
		"spool with %n":        {func(b *body) { b.answer["scontrol"] = "SlurmdSpoolDir = /var/spool/%n\nMpiDefault = pmix\n" }, "slurm.conf", Warn, "PMIx", "without % patterns"},
		"pyxis":                {set("/etc/slurm/plugstack.conf.d/p.conf", "required /usr/lib/slurm/spank_pyxis.so\n"), "plugstack", Warn, "loads pyxis", "remove one"},
		"no munge":             {func(b *body) { b.config = func(c *config.Config) { c.HPC.Edits = []string{"slurm"} } }, "munge", Warn, "munge.socket.2 is missing", "start munged"},
		"no fuse":              {deed("fuse", "open /dev/fuse: permission denied"), "fuse", Warn, "permission denied", "modprobe fuse"},
		"closed fuse":          {both(deed("fuse", "permission denied"), set("/dev/fuse", ""), func(b *body) { b.modes["/dev/fuse"] = 0o600 }), "fuse", Warn, "permission denied", "chmod 666"},
		"no overlay":           {deed("overlay", "mount overlay: operation not permitted"), "overlay", Warn, "cannot mount an overlay", "5.11"},
		"no certificates":      {gone("/etc/ssl/cert.pem"), "registry", Warn, "no bundle of CA", "ca-certificates"},
		"no resolver":          {gone("/etc/resolv.conf"), "registry", Warn, "names no server", "login host"},
		"driver, no libraries": {gone("/usr/lib64/libcuda.so.570.86.15"), "nvidia", Fail, "in none of the usual", "libnvidia-compute"},
		"another driver":       {both(gone("/usr/lib64/libcuda.so.570.86.15"), set("/usr/lib64/libcuda.so.550.1.2", "")), "nvidia", Fail, "the libraries are 550.1.2", "570.86.15"},
		"no uvm":               {gone("/dev/nvidia-uvm"), "nvidia", Warn, "nvidia-uvm is missing", "nvidia-modprobe"},
		"stale CDI":            {gone("/dev/nvidia0"), "cdi", Fail, "names /dev/nvidia0, which", "nvidia-ctk cdi generate"},
		"closed renderD":       {deed("open", "open /dev/dri/renderD128: permission denied"), "amd", Warn, "renderD128: permission denied", "0666"},
		"closed verbs":         {deed("open", "open /dev/infiniband/uverbs0: permission denied"), "fabric", Warn, "uverbs0", "rdma-core"},
		"no cgroups":           {set("/proc/self/mountinfo", "20 1 0:1 / /proc rw - proc proc rw\n"), "cgroup", Warn, "no cgroups", "cgroup2"},
		"Yama":                 {both(deed("cma", "process_vm_readv: operation not permitted"), set("/proc/sys/kernel/yama/ptrace_scope", "2")), "cma", Warn, "ptrace_scope is 2", "ptrace_scope=0"},
		"no ConstrainDevices":  {func(b *body) { b.job = true }, "devices", Warn, "can open /dev/nvidia0", "ConstrainDevices=yes"},
		"program of a user":    {func(b *body) { b.modes["/usr/local/bin/ocishim"] = 0o777 }, "program", Warn, "whoever can write it", "chmod 755"},
		"no other half":        {gone("/usr/local/bin/ocishim-image"), "program", Warn, "images cannot be pulled", "both programs"},
	} {
		b := healthy(t)
		b.files, b.modes, b.answer = maps.Clone(b.files), maps.Clone(b.modes), maps.Clone(b.answer)
		c.hurt(&b)
		findings := Examine(b.patient(t), []string{c.check})
		seen := false
		for _, f := range findings {
			seen = seen || f.Status == c.status && strings.Contains(f.What, c.what) && strings.Contains(f.Fix, c.fix)
		}
		if !seen {
			t.Errorf("%s: %+v, wanted %s, %s, %s", name, findings, c.status, c.what, c.fix)
		}
	}
}

// The files that a site installs fit the versions of Slurm that they are for.
func TestShippedFiles(t *testing.T) {
	for file, versions := range map[string][]string{
		"run.conf": {"23.02.1", "24.11.5", "26.05.5", ""}, "create-start.conf": {"23.02.1", "24.11.5", "26.05.5"},
		"22.05.conf": {"22.05.8"}, "image.conf": {"24.11.5", "26.05.5"},
	} {
		data, err := os.ReadFile("../../oci.conf.d/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range versions {
			for _, f := range checkOCIConf(file, version, string(data), "/usr/local/bin/ocishim") {
				if f.Status != OK {
					t.Errorf("%s, Slurm %s: %s", file, version, f.What)
				}
			}
		}
	}
}

func TestCompare(t *testing.T) {
	report := func(host, kernel string, s Status) Report {
		return Report{map[string]string{"host": host, "kernel": kernel}, []Finding{{Check: "fuse", Status: s, What: "x"}}}
	}
	got := strings.Join(Compare([]Report{report("n1", "6.1", OK), report("n2", "6.1", OK), report("n3", "5.4", Warn)}), "\n")
	if got != "check fuse: n3: warn x, and ok x elsewhere\nkernel: n3: 5.4, and 6.1 elsewhere" {
		t.Errorf("%s", got)
	}
	if same := Compare([]Report{report("n1", "6.1", OK), report("n2", "6.1", OK)}); len(same) > 0 {
		t.Errorf("%v", same)
	}
}
