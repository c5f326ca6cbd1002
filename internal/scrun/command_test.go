package scrun

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Commands are looked for in the image and its volumes, never on this host.
func TestAbsoluteCommand(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"root/usr/bin/sh", "root/opt/tool", "volume/sh", "volume/x/only"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "root/usr/bin/data"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"bin": "usr/bin", "out": "/etc", "absolute": "/usr/bin"} {
		if err := os.Symlink(to, filepath.Join(dir, "root", from)); err != nil {
			t.Fatal(err)
		}
	}
	mounts := []specs.Mount{
		{Destination: "/vol", Source: filepath.Join(dir, "volume"), Type: "bind"},
		{Destination: "/one/command", Source: filepath.Join(dir, "volume/sh"), Options: []string{"rbind"}},
		{Destination: "/proc", Source: "proc", Type: "proc"},
	}
	for _, tt := range []struct{ path, command, want string }{
		{"/usr/bin", "sh", "/usr/bin/sh"},
		{"/bin", "sh", "/bin/sh"},
		{"/absolute:/nowhere", "sh", "/absolute/sh"},
		{"/vol:/usr/bin", "sh", "/vol/sh"},
		{"/vol/x", "only", "/vol/x/only"},
		{"/one", "command", "/one/command"},
		{"/usr/bin", "data", "data"},
		{"/usr/bin", "env", "env"}, // this host has one
		{"/out", "passwd", "passwd"},
		{"", "sh", "/usr/bin/sh"},
		{"opt", "tool", "/opt/tool"},
		{"/usr/bin", "./tool", "/tool"},
		{"/usr/bin", "../x", "/x"},
		{"/usr/bin", "/abs/../x", "/abs/../x"},
	} {
		p := &specs.Process{Cwd: "/", Env: []string{"A=b", "PATH=" + tt.path}}
		args := []string{tt.command, "an argument"}
		got := absoluteCommand(filepath.Join(dir, "root"), mounts, p, args)
		if !slices.Equal(got, []string{tt.want, "an argument"}) {
			t.Errorf("%s in %q: %q, want %s", tt.command, tt.path, got, tt.want)
		}
		if args[0] != tt.command {
			t.Errorf("%s: the arguments themselves were changed", tt.command)
		}
	}
}
