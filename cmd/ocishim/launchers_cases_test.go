package main_test

import (
	"maps"
	"os"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Both launchers make the same container, and leave the host and the image unchanged.
// docs/launchers.md lists the differences that a program sees.
func TestSameByBothLaunchers(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root's containers are launched by libcontainer alone; the tests run as a user, too")
	}
	cases := map[string]sameCase{}
	for _, some := range []map[string]sameCase{processCases(), mountCases(), imageCases(), directoryCases()} {
		maps.Copy(cases, some)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.try(t)
		})
	}
}

// process returns a change of the case's process.
func process(change func(p *specs.Process)) sameCase {
	return sameCase{spec: func(_ *samePlace, spec *specs.Spec) { change(spec.Process) }}
}

func processCases() map[string]sameCase {
	env := func(entries ...string) sameCase {
		return process(func(p *specs.Process) { p.Env = append(p.Env, entries...) })
	}
	with := func(c sameCase, want map[string]string) sameCase {
		c.want = want
		return c
	}
	return map[string]sameCase{
		"plain":                {want: map[string]string{"cwd": "WORK", "env HOME": "/"}},
		"as a task of a step":  {step: true, want: map[string]string{"cwd": "WORK"}},
		"home is set":          with(env("HOME=/some/where"), map[string]string{"env HOME": "/some/where"}),
		"home is empty":        with(env("HOME="), map[string]string{"env HOME": "/"}),
		"home twice":           with(env("HOME=/a", "HOME=/b"), map[string]string{"env HOME": "/b"}),
		"a variable twice":     with(env("A=1", "B=", "A=2"), map[string]string{"env A": `"2"`}),
		"odd variables":        env("a.b=c=d", "BASH_FUNC_x%%=() { :\n}", "Ä=ö", "E=\x01\x7f"),
		"not UTF-8":            with(env("L=\xe9"), map[string]string{"env L": `"\xe9"`}),
		"arguments not UTF-8":  process(func(p *specs.Process) { p.Args = append(p.Args, "a\xe9", "\xf4\x8f\xbf\xa9") }),
		"long variable":        env("LONG=" + string(make([]byte, 0)) + longWord(100000)),
		"no PATH":              {spec: func(_ *samePlace, s *specs.Spec) { s.Process.Env = []string{"A=1"} }},
		"umask":                process(func(p *specs.Process) { umask := uint32(0o027); p.User.Umask = &umask }),
		"umask 0":              process(func(p *specs.Process) { umask := uint32(0); p.User.Umask = &umask }),
		"another user":         process(func(p *specs.Process) { p.User.UID, p.User.GID = 12, 13 }),
		"groups":               process(func(p *specs.Process) { p.User.AdditionalGids = []uint32{5, 7} }),
		"limits":               process(func(p *specs.Process) { p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 0, Hard: 0}} }),
		"capabilities":         process(func(p *specs.Process) { p.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN"}} }),
		"no new privileges":    process(func(p *specs.Process) { p.NoNewPrivileges = false }),
		"oom score":            process(func(p *specs.Process) { score := 500; p.OOMScoreAdj = &score }),
		"cwd is the root":      {spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/" }, config: "hpc.workdir = false\nhpc.tmp = false"},
		"cwd exists":           {spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/usr/lib" }, config: "hpc.workdir = false\nhpc.tmp = false", want: map[string]string{"cwd": "/usr/lib"}},
		"cwd is missing":       {spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/srv/app/x" }, config: "hpc.workdir = false\nhpc.tmp = false", want: map[string]string{"cwd": "/srv/app/x"}},
		"cwd below a dangling": {spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/opt/app" }, config: "hpc.workdir = false\nhpc.tmp = false", image: link("/opt", "var/opt"), want: map[string]string{"cwd": "/var/opt/app"}},
		"cwd by a deep link": {
			spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/usr/lib/app/x" }, config: "hpc.workdir = false\nhpc.tmp = false",
			image: link("/usr/lib/app", "../../srv/app"), want: map[string]string{"cwd": "/srv/app/x"},
		},
		"cwd by an absolute deep link": {
			spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/usr/lib/app/x" }, config: "hpc.workdir = false\nhpc.tmp = false",
			image: link("/usr/lib/app", "/srv/app"), want: map[string]string{"cwd": "/srv/app/x"},
		},
		"cwd into /tmp": {spec: func(p *samePlace, s *specs.Spec) { s.Process.Cwd = p.tmp + "/x" }, config: "hpc.workdir = false", args: []string{"--cwd", "/none"}, fails: "working directory"},
		"cwd by a link to /tmp": {
			spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/opt/app" }, args: []string{"--cwd", "/none"}, fails: "working directory",
			image: func(p *samePlace, rootfs string) error { return os.Symlink(p.tmp, rootfs+"/opt") },
		},
		"cwd in a tmpfs": {
			spec: func(_ *samePlace, s *specs.Spec) {
				s.Process.Cwd = "/opt/app"
				s.Mounts = append(s.Mounts, specs.Mount{Destination: "/opt", Type: "tmpfs", Source: "tmpfs"})
			},
			config: "hpc.workdir = false\nhpc.tmp = false", want: map[string]string{"cwd": "/opt/app"},
		},
		"cwd is a file": {spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/etc/passwd" }, config: "hpc.workdir = false\nhpc.tmp = false", fails: "/etc/passwd"},
		"cwd by what is missing": {
			spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/usr/../srv/../opt/x" }, config: "hpc.workdir = false\nhpc.tmp = false",
			want: map[string]string{"cwd": "/opt/x"},
		},
		"cwd goes in circles": {spec: func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = "/opt" }, image: link("/opt", "opt"), config: "hpc.workdir = false\nhpc.tmp = false", fails: "/opt"},
		"--cwd":               {args: []string{"--cwd", "/usr"}, want: map[string]string{"cwd": "/usr"}},
		"--cwd of the host":   {args: []string{"--cwd", "/var"}, want: map[string]string{"cwd": "/var"}},
		"root is read-only":   {spec: func(_ *samePlace, s *specs.Spec) { s.Root.Readonly = true }},
		"hostname":            {spec: func(_ *samePlace, s *specs.Spec) { s.Hostname = "other" }},
		"sysctl":              {spec: func(_ *samePlace, s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"} }},
		"personality": {spec: func(_ *samePlace, s *specs.Spec) {
			s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux}
		}},
		"masked paths": {spec: func(_ *samePlace, s *specs.Spec) { s.Linux.MaskedPaths = []string{"/usr"} }},
		"seccomp": {spec: func(_ *samePlace, s *specs.Spec) {
			s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"ptrace"}, Action: specs.ActErrno}}}
		}},
		"no such command": {spec: func(_ *samePlace, s *specs.Spec) { s.Process.Args = []string{"nothing"} }, fails: "command not found"},
		"a hook in namespaces": {spec: func(_ *samePlace, s *specs.Spec) {
			s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/looks"}}}
		}},
		"a hook that fails": {spec: func(_ *samePlace, s *specs.Spec) {
			s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/nothing"}}}
		}, fails: "ocishim: error: "},
	}
}

func longWord(n int) string {
	word := make([]byte, n)
	for i := range word {
		word[i] = 'x'
	}
	return string(word)
}

// link returns an image with a link.
func link(path, target string) func(*samePlace, string) error {
	return func(_ *samePlace, rootfs string) error {
		_ = os.RemoveAll(rootfs + path)
		return os.Symlink(target, rootfs+path)
	}
}
