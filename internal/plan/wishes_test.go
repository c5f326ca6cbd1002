package plan

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/request"
)

// wished plans a task whose user has these wishes, by key, on a host with the directories.
func wished(t *testing.T, cfg *config.Config, directories []string, wishes map[string][]string) (*specs.Spec, error) {
	t.Helper()
	root := t.TempDir()
	for _, dir := range directories {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	machine, err := host.Open(root, host.Kernel{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(machine.Close)
	s := nowhere(t)
	s.Host, s.Config, s.Workdir = machine, cfg, "/job"
	var r request.Request
	for key, values := range wishes {
		if err := r.Set(key, values, "by "+key); err != nil {
			t.Fatal(err)
		}
	}
	b := task(t, "A=job", "B=job", "HOME=/home/alice", "SLURM_X=1")
	_, err = Make(b, r, s)
	return b.Spec, err
}

func TestWishes(t *testing.T) {
	spec, err := wished(t, config.Default(), []string{"/data", "/job/rel", "/tmp"}, map[string][]string{
		"mounts": {"/data:/d:ro", "rel:/r", "tmpfs:/m", "umount:/tmp", "/none:/n:optional"},
		"env":    {"NEW=${A}"}, "no_env": {"B*", "*X"}, "workdir": {"/d"},
	})
	if err != nil {
		t.Fatal(err)
	}
	mounts := map[string]string{}
	for _, m := range spec.Mounts {
		mounts[m.Destination] = m.Type + " " + m.Source + " " + strings.Join(m.Options, ",")
	}
	for destination, want := range map[string]string{
		"/d": " /data rbind,nosuid,nodev,ro", "/r": " /job/rel rbind,nosuid,nodev", "/m": "tmpfs tmpfs nosuid,nodev,mode=0700", "/tmp": "", "/n": "",
	} {
		if got := strings.TrimPrefix(mounts[destination], "bind"); got != want {
			t.Errorf("%s: got %q, want %q", destination, got, want)
		}
	}
	env := strings.Join(spec.Process.Env, " ")
	if !strings.Contains(env, "NEW=${A}") || strings.Contains(env, "B=job") || !strings.Contains(env, "SLURM_X=1") || spec.Process.Cwd != "/d" {
		t.Errorf("environment %s, directory %s", env, spec.Process.Cwd)
	}
}

// The user decides whether the home is mounted, if the site lets them.
func TestWishedHome(t *testing.T) {
	for _, wanted := range []string{"true", "false"} {
		cfg := config.Default()
		cfg.HPC.Home = wanted == "false"
		if _, err := wished(t, cfg, nil, map[string][]string{"home": {wanted}}); err != nil || cfg.HPC.Home != (wanted == "true") {
			t.Errorf("%s: %v, %v", wanted, cfg.HPC.Home, err)
		}
	}
}

func TestWrongWishes(t *testing.T) {
	for key, value := range map[string]string{"mounts": "/none:/x", "workdir": "/none"} {
		_, err := wished(t, config.Default(), []string{"/job"}, map[string][]string{key: {value}})
		if !errors.Is(err, ErrNoSource) && !errors.Is(err, ErrNoWorkdir) || !strings.Contains(err.Error(), "by "+key) || !strings.Contains(err.Error(), "/none") {
			t.Errorf("%s: %v", key, err)
		}
	}
	for key, value := range map[string]string{"mounts": "/job:/x", "workdir": "/tmp", "home": "true", "env": "A=b", "no_env": "A", "entrypoint": "true"} {
		strict := config.Default()
		strict.Users.May = nil
		if _, err := wished(t, strict, []string{"/job"}, map[string][]string{key: {value}}); !errors.Is(err, config.ErrNotAllowed) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// Root is for users, and not where config.json brings ids of its own; under hpc the home is at /root.
func TestWishedRoot(t *testing.T) {
	spec, err := wished(t, config.Default(), []string{"/home/alice"}, map[string][]string{"remap_root": {"true"}, "unshare": {"net,pid"}})
	if err != nil {
		t.Fatal(err)
	}
	env := strings.Join(spec.Process.Env, " ")
	if spec.Process.User.UID != 0 || len(spec.Linux.UIDMappings) != 1 || spec.Linux.Seccomp == nil || !strings.Contains(env, "HOME=/root") {
		t.Errorf("user %+v, %+v, environment %s", spec.Process.User, spec.Linux, env)
	}
	if len(spec.Linux.Namespaces) != 4 {
		t.Errorf("namespaces %v", spec.Linux.Namespaces)
	}
	root := nowhere(t)
	root.Root = true
	wish := request.Request{RemapRoot: request.Choice{Value: "true", By: "--root"}}
	if _, err := Make(task(t), wish, root); !errors.Is(err, ErrRootAlready) || !strings.HasPrefix(err.Error(), "--root: ") {
		t.Errorf("root: %v", err)
	}
	engine := nowhere(t)
	engine.Slurm = false
	b := task(t)
	b.Spec.Linux = &specs.Linux{UIDMappings: []specs.LinuxIDMapping{{HostID: 1, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65536}}}
	result, err := Make(b, wish, engine)
	if err != nil || len(result.Edits) > 0 || !strings.Contains(strings.Join(result.Notes, ""), "--root has no effect") {
		t.Errorf("with ids of its own: %+v, %v", result, err)
	}
}

// A task gets device nodes that it may use. The annotations of an engine's container count only where
// the site lets such containers ask for devices.
func TestWishedDevices(t *testing.T) {
	machine, err := host.Open("/", host.Kernel{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(machine.Close)
	for name, test := range map[string]struct {
		device, by      string
		engine, engines bool
		want            int // mounts
		fails           string
	}{
		"a task":                    {device: "/dev/null", by: "OCISHIM_DEVICES", want: 1},
		"none":                      {device: "/dev/no-such", by: "OCISHIM_DEVICES", fails: "has no device /dev/no-such"},
		"a directory":               {device: "/dev/pts", by: "OCISHIM_DEVICES", fails: "not a device node"},
		"an engine":                 {device: "/dev/null", by: "--device", engine: true, want: 1},
		"an annotation":             {device: "/dev/null", by: "annotation org.ocishim.devices", engine: true},
		"one that the site accepts": {device: "/dev/null", by: "annotation org.ocishim.devices", engine: true, engines: true, want: 1},
	} {
		s := nowhere(t)
		s.Host, s.Slurm, s.Config.GPU.Engines = machine, !test.engine, test.engines
		b := task(t)
		p := composed(b, s)
		p.request.DeviceNodes = []request.Choice{{Value: test.device, By: test.by}}
		err := p.deviceNodes()
		if (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) || len(b.Spec.Mounts) != test.want {
			t.Errorf("%s: %v, mounts %v", name, err, b.Spec.Mounts)
		}
	}
}
