package bundle

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// everyDrop is a configuration that has each field that can be dropped.
const everyDrop = `{
	"ociVersion": "1.0.0", "hostname": "h", "domainname": "d", "root": {"path": "/"},
	"process": {"cwd": "/", "args": ["true"], "capabilities": {"bounding": ["CAP_KILL"]}, "oomScoreAdj": 3,
		"rlimits": [{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}], "consoleSize": {"height": 1, "width": 1}},
	"linux": {"cgroupsPath": "c", "devices": [{"path": "/dev/x", "type": "c"}], "intelRdt": {"closID": "i"},
		"maskedPaths": ["/m"], "uidMappings": [{"size": 1}], "gidMappings": [{"size": 1}], "namespaces": [{"type": "pid"}],
		"netDevices": {"a": {"name": "b"}}, "readonlyPaths": ["/r"], "resources": {"pids": {"limit": 1}},
		"sysctl": {"a.b": "c"}, "timeOffsets": {"monotonic": {"secs": 1}}}
}`

// Each drop removes something, and nothing that another drop removes.
func TestDrop(t *testing.T) {
	load := func() *specs.Spec {
		spec := new(specs.Spec)
		if err := json.Unmarshal([]byte(everyDrop), spec); err != nil {
			t.Fatal(err)
		}
		return spec
	}
	whole := marshal(t, load())
	seen := map[string]string{}
	for name := range drops() {
		b := &Bundle{Spec: load()}
		if err := b.Apply(Edit{Drop: []string{name}}); err != nil {
			t.Fatal(err)
		}
		left := marshal(t, b.Spec)
		if left == whole {
			t.Errorf("%s drops nothing", name)
		}
		if seen[left] != "" {
			t.Errorf("%s drops the same as %s", name, seen[left])
		}
		seen[left] = name
	}
}

func TestDropUnknown(t *testing.T) {
	b := &Bundle{Spec: new(specs.Spec)}
	err := b.Apply(Edit{From: "me", Drop: []string{"hostname", "root"}})
	var bad *ConfigError
	if !errors.As(err, &bad) || bad.Field != "drop[1]" {
		t.Errorf("got %v", err)
	}
}

// Dropping a mount also drops what lies below it, and nothing else. What the same edit adds stays.
func TestDropMounts(t *testing.T) {
	b := &Bundle{Spec: &specs.Spec{}}
	for _, d := range []string{"/dev", "/dev/", "/dev/shm", "/devel", "/data/dev", "/proc"} {
		b.Spec.Mounts = append(b.Spec.Mounts, specs.Mount{Destination: d, Type: "tmpfs"})
	}
	edit := Edit{DropMounts: []string{"/dev", "/proc/"}, Mounts: []specs.Mount{{Destination: "/dev", Type: "bind", Source: "/dev"}}}
	if err := b.Apply(edit); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, m := range b.Spec.Mounts {
		left = append(left, m.Type+":"+m.Destination)
	}
	slices.Sort(left)
	if got, want := strings.Join(left, " "), "bind:/dev tmpfs:/data/dev tmpfs:/devel"; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
}
