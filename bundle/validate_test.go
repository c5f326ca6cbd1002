package bundle

import (
	"errors"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func ptr[T any](v T) *T { return &v }

func manyMappings(n int) []specs.LinuxIDMapping {
	mappings := make([]specs.LinuxIDMapping, n)
	for i := range mappings {
		mappings[i] = specs.LinuxIDMapping{ContainerID: uint32(i), HostID: uint32(i), Size: 1}
	}
	return mappings
}

// withLinux wraps a change that needs the linux section.
func withLinux(change func(*specs.Linux)) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux = new(specs.Linux)
		change(s.Linux)
	}
}

func withMount(m specs.Mount) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Mounts = []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}, m}
	}
}

func withMappings(mappings ...specs.LinuxIDMapping) func(*specs.Spec) {
	return withLinux(func(l *specs.Linux) { l.UIDMappings = mappings })
}

func withNamespaces(namespaces ...specs.LinuxNamespace) func(*specs.Spec) {
	return withLinux(func(l *specs.Linux) { l.Namespaces = namespaces })
}

func withRlimits(limits ...specs.POSIXRlimit) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.Rlimits = limits }
}

func withHook(h specs.Hook) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{h}} }
}

func TestValidateAccepts(t *testing.T) {
	version := func(v string) func(*specs.Spec) { return func(s *specs.Spec) { s.Version = v } }
	tests := map[string]func(*specs.Spec){
		"nothing changed":    nil,
		"version dev":        version("1.0.2-dev"),
		"version rc":         version("1.0.0-rc5"),
		"version build":      version("1.3.0+dev"),
		"version later":      version("1.99.100"),
		"umask":              func(s *specs.Spec) { s.Process.User.Umask = ptr(uint32(0o777)) },
		"oom score":          func(s *specs.Spec) { s.Process.OOMScoreAdj = ptr(-1000) },
		"env":                func(s *specs.Spec) { s.Process.Env = []string{"A=", "B==", "BASH_FUNC_x%%=() { :\n}", "A=2"} },
		"relative mount":     withMount(specs.Mount{Destination: "data", Type: "tmpfs"}),
		"bind":               withMount(specs.Mount{Destination: "/data", Source: "relative", Options: []string{"rbind"}}),
		"type bind alone":    withMount(specs.Mount{Destination: "/data", Source: "relative", Type: "bind"}),
		"all propagations":   withLinux(func(l *specs.Linux) { l.RootfsPropagation = "rslave" }),
		"340 mappings":       withMappings(manyMappings(340)...),
		"adjacent mappings":  withMappings(specs.LinuxIDMapping{ContainerID: 1, HostID: 100000, Size: 65535}, specs.LinuxIDMapping{ContainerID: 0, HostID: 1000, Size: 1}),
		"all ids":            withMappings(specs.LinuxIDMapping{Size: 4294967295}),
		"joined namespace":   withNamespaces(specs.LinuxNamespace{Type: "network", Path: "/proc/1/ns/net"}, specs.LinuxNamespace{Type: "time"}),
		"unlimited":          withRlimits(specs.POSIXRlimit{Type: "RLIMIT_MEMLOCK", Soft: ^uint64(0), Hard: ^uint64(0)}),
		"hook":               withHook(specs.Hook{Path: "/bin/true", Timeout: ptr(1), Env: []string{"odd"}}),
		"unknown capability": func(s *specs.Spec) { s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_X"}} },
		"NUL in annotation":  func(s *specs.Spec) { s.Annotations = map[string]string{"a": "\x00"} },
		"long host name":     func(s *specs.Spec) { s.Hostname = strings.Repeat("n", 64) },
		"device":             withLinux(func(l *specs.Linux) { l.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "p"}} }),
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			if err := loadMinimal(t, change).Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	type table map[string]struct {
		change        func(*specs.Spec)
		field, reason string
	}
	groups := map[string]table{
		"top": {
			"no version":       {func(s *specs.Spec) { s.Version = "" }, "ociVersion", "missing"},
			"version 2":        {func(s *specs.Spec) { s.Version = "2.0.0" }, "ociVersion", "version 2.0.0 is not supported: only 1.x is"},
			"version 0":        {func(s *specs.Spec) { s.Version = "0.9.0" }, "ociVersion", "not supported"},
			"version 10":       {func(s *specs.Spec) { s.Version = "10.0.0" }, "ociVersion", "not supported"},
			"version short":    {func(s *specs.Spec) { s.Version = "1.0" }, "ociVersion", "1.0 is not a version"},
			"version word":     {func(s *specs.Spec) { s.Version = "1.x.y" }, "ociVersion", "is not a version"},
			"version garbage":  {func(s *specs.Spec) { s.Version = "1.0.0\x1b" }, "ociVersion", `"1.0.0\x1b" is not a version`},
			"no root":          {func(s *specs.Spec) { s.Root = nil }, "root", "missing"},
			"no root path":     {func(s *specs.Spec) { s.Root.Path = "" }, "root.path", "missing"},
			"long host name":   {func(s *specs.Spec) { s.Hostname = strings.Repeat("n", 65) }, "hostname", "more than 64 bytes"},
			"long domain name": {func(s *specs.Spec) { s.Domainname = strings.Repeat("n", 65) }, "domainname", "more than 64 bytes"},
			"hook relative":    {withHook(specs.Hook{Path: "true"}), "hooks.poststop[0].path", "true is not an absolute path"},
			"hook empty":       {withHook(specs.Hook{}), "hooks.poststop[0].path", "missing"},
			"hook timeout":     {withHook(specs.Hook{Path: "/x", Timeout: ptr(0)}), "hooks.poststop[0].timeout", "0 is not greater than zero"},
		},
		"process": {
			"missing":        {func(s *specs.Spec) { s.Process = nil }, "process", "missing"},
			"no args":        {func(s *specs.Spec) { s.Process.Args = nil }, "process.args", "missing or empty"},
			"empty args":     {func(s *specs.Spec) { s.Process.Args = []string{} }, "process.args", "missing or empty"},
			"empty command":  {func(s *specs.Spec) { s.Process.Args = []string{"", "x"} }, "process.args[0]", "empty"},
			"no cwd":         {func(s *specs.Spec) { s.Process.Cwd = "" }, "process.cwd", "missing"},
			"relative cwd":   {func(s *specs.Spec) { s.Process.Cwd = "tmp" }, "process.cwd", "tmp is not an absolute path"},
			"env without =":  {func(s *specs.Spec) { s.Process.Env = []string{"A=1", "FOO"} }, "process.env[1]", "entry FOO has no '='"},
			"env no name":    {func(s *specs.Spec) { s.Process.Env = []string{"=1"} }, "process.env[0]", "entry =1 has no name"},
			"env empty":      {func(s *specs.Spec) { s.Process.Env = []string{""} }, "process.env[0]", "has no '='"},
			"umask":          {func(s *specs.Spec) { s.Process.User.Umask = ptr(uint32(0o1000)) }, "process.user.umask", "512 (octal 1000)"},
			"oom score":      {func(s *specs.Spec) { s.Process.OOMScoreAdj = ptr(1001) }, "process.oomScoreAdj", "1001 is not between"},
			"console height": {func(s *specs.Spec) { s.Process.ConsoleSize = &specs.Box{Height: 65536} }, "process.consoleSize.height", "65536"},
			"console width":  {func(s *specs.Spec) { s.Process.ConsoleSize = &specs.Box{Width: 65536} }, "process.consoleSize.width", "65536"},
			"rlimit unknown": {withRlimits(specs.POSIXRlimit{Type: "RLIMIT_X"}), "process.rlimits[0].type", `unknown type "RLIMIT_X"`},
			"rlimit no type": {withRlimits(specs.POSIXRlimit{}), "process.rlimits[0].type", `unknown type ""`},
			"rlimit twice": {
				withRlimits(specs.POSIXRlimit{Type: "RLIMIT_CPU"}, specs.POSIXRlimit{Type: "RLIMIT_CPU"}),
				"process.rlimits[1].type", "RLIMIT_CPU is already set by process.rlimits[0]",
			},
			"rlimit soft": {withRlimits(specs.POSIXRlimit{Type: "RLIMIT_CPU", Soft: 2, Hard: 1}), "process.rlimits[0].soft", "2 is more than the hard limit 1"},
		},
		"mounts": {
			"no destination": {withMount(specs.Mount{Type: "tmpfs"}), "mounts[1].destination", "missing"},
			"root":           {withMount(specs.Mount{Destination: "/"}), "mounts[1].destination", "/ is the root"},
			"cleans to root": {withMount(specs.Mount{Destination: "a/../../b/.."}), "mounts[1].destination", "is the root"},
			"bind of none":   {withMount(specs.Mount{Destination: "/d", Options: []string{"ro", "bind"}}), "mounts[1].source", "missing"},
			"mapping": {
				withMount(specs.Mount{Destination: "/d", UIDMappings: []specs.LinuxIDMapping{{}}}),
				"mounts[1].uidMappings[0].size", "missing or 0",
			},
		},
		"linux": {
			"namespace unknown":  {withNamespaces(specs.LinuxNamespace{Type: "net"}), "linux.namespaces[0].type", `unknown type "net"`},
			"namespace relative": {withNamespaces(specs.LinuxNamespace{Type: "pid", Path: "ns"}), "linux.namespaces[0].path", "not an absolute path"},
			"namespace twice": {
				withNamespaces(specs.LinuxNamespace{Type: "pid"}, specs.LinuxNamespace{Type: "pid", Path: "/x"}),
				"linux.namespaces[1].type", "pid is already set by linux.namespaces[0]",
			},
			"mapping of 0":     {withMappings(specs.LinuxIDMapping{ContainerID: 1}), "linux.uidMappings[0].size", "missing or 0"},
			"mapping overflow": {withMappings(specs.LinuxIDMapping{ContainerID: 1, Size: 4294967295}), "linux.uidMappings[0].size", "4294967295 reaches beyond"},
			"mapping overflow of host": {withLinux(func(l *specs.Linux) {
				l.GIDMappings = []specs.LinuxIDMapping{{HostID: 4294967294, Size: 2}}
			}), "linux.gidMappings[0].size", "reaches beyond"},
			"341 mappings": {withMappings(manyMappings(341)...), "linux.uidMappings", "341 mappings are more than the kernel's 340"},
			"overlap in the container": {
				withMappings(specs.LinuxIDMapping{ContainerID: 5, HostID: 0, Size: 1}, specs.LinuxIDMapping{ContainerID: 0, HostID: 10, Size: 6}),
				"linux.uidMappings[1]", "overlaps linux.uidMappings[0] on the container side",
			},
			"overlap on the host": {
				withMappings(specs.LinuxIDMapping{ContainerID: 0, HostID: 7, Size: 2}, specs.LinuxIDMapping{ContainerID: 9, HostID: 8, Size: 2}),
				"linux.uidMappings[1]", "on the host side",
			},
			"propagation":       {withLinux(func(l *specs.Linux) { l.RootfsPropagation = "some" }), "linux.rootfsPropagation", `unknown value "some"`},
			"masked relative":   {withLinux(func(l *specs.Linux) { l.MaskedPaths = []string{"/a", "b"} }), "linux.maskedPaths[1]", "not an absolute path"},
			"readonly relative": {withLinux(func(l *specs.Linux) { l.ReadonlyPaths = []string{""} }), "linux.readonlyPaths[0]", "missing"},
			"device relative":   {withLinux(func(l *specs.Linux) { l.Devices = []specs.LinuxDevice{{Path: "null", Type: "c"}} }), "linux.devices[0].path", "not an absolute path"},
			"device type":       {withLinux(func(l *specs.Linux) { l.Devices = []specs.LinuxDevice{{Path: "/dev/null"}} }), "linux.devices[0].type", `unknown type ""`},
		},
	}
	for group, table := range groups {
		for name, test := range table {
			t.Run(group+"/"+name, func(t *testing.T) {
				checkRefused(t, loadMinimal(t, test.change), test.field, test.reason)
			})
		}
	}
}

func checkRefused(t *testing.T, b *Bundle, field, reason string) {
	t.Helper()
	err := b.Validate()
	var bad *ConfigError
	if !errors.As(err, &bad) {
		t.Fatalf("got %v, want a ConfigError of %s", err, field)
	}
	if bad.Field != field || !strings.Contains(bad.Err.Error(), reason) {
		t.Errorf("got %s: %v, want %s: %s", bad.Field, bad.Err, field, reason)
	}
	if !strings.HasPrefix(err.Error(), "validate "+b.Dir+"/config.json: "+field+": ") || strings.ContainsAny(err.Error(), "\n\x00\x1b") {
		t.Errorf("message %q", err)
	}
}

// Nothing in the specification is silently ignored: these properties are for other platforms.
func TestValidatePlatform(t *testing.T) {
	tests := map[string]func(*specs.Spec){
		"windows":               func(s *specs.Spec) { s.Windows = new(specs.Windows) },
		"solaris":               func(s *specs.Spec) { s.Solaris = new(specs.Solaris) },
		"vm":                    func(s *specs.Spec) { s.VM = new(specs.VM) },
		"zos":                   func(s *specs.Spec) { s.ZOS = new(specs.ZOS) },
		"freebsd":               func(s *specs.Spec) { s.FreeBSD = new(specs.FreeBSD) },
		"process.commandLine":   func(s *specs.Spec) { s.Process.CommandLine = "cmd" },
		"process.user.username": func(s *specs.Spec) { s.Process.User.Username = "me" },
	}
	for field, change := range tests {
		t.Run(field, func(t *testing.T) {
			b := loadMinimal(t, change)
			checkRefused(t, b, field, "not supported: it is for ")
			if !errors.Is(b.Validate(), ErrUnsupported) {
				t.Error("not ErrUnsupported")
			}
		})
	}
}

func TestValidateNUL(t *testing.T) {
	const nul = "/a\x00b"
	tests := map[string]func(*specs.Spec){
		"process.args[1]":                  func(s *specs.Spec) { s.Process.Args = []string{"a", nul} },
		"process.env[0]":                   func(s *specs.Spec) { s.Process.Env = []string{"A=" + nul} },
		"process.cwd":                      func(s *specs.Spec) { s.Process.Cwd = nul },
		"process.rlimits[0].type":          withRlimits(specs.POSIXRlimit{Type: nul}),
		"process.capabilities.bounding[0]": func(s *specs.Spec) { s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{nul}} },
		"hostname":                         func(s *specs.Spec) { s.Hostname = nul },
		"domainname":                       func(s *specs.Spec) { s.Domainname = nul },
		"root.path":                        func(s *specs.Spec) { s.Root.Path = nul },
		"mounts[1].destination":            withMount(specs.Mount{Destination: nul}),
		"mounts[1].source":                 withMount(specs.Mount{Destination: "/d", Source: nul}),
		"mounts[1].type":                   withMount(specs.Mount{Destination: "/d", Type: nul}),
		"mounts[1].options[0]":             withMount(specs.Mount{Destination: "/d", Options: []string{nul}}),
		"linux.namespaces[0].path":         withNamespaces(specs.LinuxNamespace{Type: "pid", Path: nul}),
		"linux.namespaces[0].type":         withNamespaces(specs.LinuxNamespace{Type: nul}),
		"linux.maskedPaths[0]":             withLinux(func(l *specs.Linux) { l.MaskedPaths = []string{nul} }),
		"linux.cgroupsPath":                withLinux(func(l *specs.Linux) { l.CgroupsPath = nul }),
		`linux.sysctl["a.b"]`:              withLinux(func(l *specs.Linux) { l.Sysctl = map[string]string{"a": "1", "a.b": nul, "c": nul} }),
		`linux.sysctl["/a\x00b"]`:          withLinux(func(l *specs.Linux) { l.Sysctl = map[string]string{nul: "1"} }),
		"hooks.poststop[0].args[0]":        withHook(specs.Hook{Path: "/x", Args: []string{nul}}),
		"linux.seccomp.syscalls[0].names[0]": withLinux(func(l *specs.Linux) {
			l.Seccomp = &specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{{Names: []string{nul}}}}
		}),
		"linux.resources.rdma[\"/a\\x00b\"]":    withLinux(func(l *specs.Linux) { l.Resources = &specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{nul: {}}} }),
		"linux.resources.unified[\"cpu.idle\"]": withLinux(func(l *specs.Linux) { l.Resources = &specs.LinuxResources{Unified: map[string]string{"cpu.idle": nul}} }),
	}
	for field, change := range tests {
		t.Run(field, func(t *testing.T) {
			checkRefused(t, loadMinimal(t, change), field, `contains a NUL byte: "`)
		})
	}
}

func TestValidateWithoutSpec(t *testing.T) {
	b := new(Bundle)
	if b.Validate() == nil || b.Apply(Edit{}) == nil {
		t.Error("a bundle without a spec is accepted")
	}
}
