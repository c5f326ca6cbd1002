package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A container without a mount namespace would leave its mounts on the host, and change the
// propagation of the host's; one that joins the caller's would pivot it. Both are refused before
// anything is made.
func TestNodesMounts(t *testing.T) {
	t.Parallel()
	own, err := os.Readlink("/proc/self/ns/pid")
	inherited := os.Getuid() == 0 && (err != nil || own != "pid:[4026531836]") // see TestInheritedMounts
	for name, linux := range map[string]*specs.Linux{
		"no linux":      nil,
		"no namespaces": {},
		"others":        {Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}}},
		"the caller's":  {Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace, Path: "/proc/self/ns/mnt"}}},
	} {
		if inherited && name != "the caller's" {
			continue
		}
		for _, verb := range []string{"run", "create"} {
			t.Run(name+", "+verb, func(t *testing.T) {
				t.Parallel()
				state := filepath.Join(t.TempDir(), "state")
				out, err := inOwnMounts(t, "--mount", linux, "before=$(cat /proc/self/mountinfo)\n"+
					"$0 --root "+state+" "+verb+" -b $1 x; status=$?\n"+
					"[ \"$before\" = \"$(cat /proc/self/mountinfo)\" ] || { echo other mounts; cat /proc/self/mountinfo; }\n"+
					"exit $status")
				if err == nil || !strings.Contains(out, "the container would share the host's mounts\nocishim: hint: add {\"type\": \"mount\"} to linux.namespaces") {
					t.Errorf("it is not refused: %v: %s", err, out)
				}
				if strings.Contains(out, "other mounts") {
					t.Errorf("it changes what is mounted: %s", out)
				}
				if left := namesIn(state); len(left) > 0 {
					t.Errorf("left in the state: %s", left)
				}
			})
		}
	}
}

// In a container, a mount namespace without a path means the caller's, as in the specification
// (config-linux.md, Namespaces).
func TestInheritedMounts(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("a user has no mount namespace that could be inherited")
	}
	out, err := inOwnMounts(t, "--mount --pid --fork --mount-proc", &specs.Linux{},
		"readlink /proc/self/ns/mnt; $0 --root "+filepath.Join(t.TempDir(), "state")+" run -b $1 "+uniqueID())
	lines := strings.Fields(out)
	if err != nil || len(lines) != 2 || lines[0] != lines[1] {
		t.Errorf("%v: %s", err, out)
	}
}

// inOwnMounts runs the script in a shell, with ocishim as $0 and as $1 a bundle that prints its
// mount namespace. For root the shell has its own namespaces, so that the host sees none of its
// mounts.
func inOwnMounts(t *testing.T, namespaces string, linux *specs.Linux, script string) (string, error) {
	t.Helper()
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	spec.Hostname, spec.Linux = "", linux
	spec.Root.Path = filepath.Join(shared.bundle(), "rootfs")
	spec.Process.Args = []string{"readlink", "/proc/self/ns/mnt"}
	spec.Mounts = []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"}, // otherwise the image would get devices
	}
	dir := t.TempDir()
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"sh", "-c", script, shared.program(), dir}
	if os.Getuid() == 0 {
		args = slices.Concat([]string{"unshare"}, strings.Fields(namespaces), args)
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	return string(out), err
}
