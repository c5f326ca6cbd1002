package explain

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

func config() *specs.Spec {
	return &specs.Spec{
		Version: "1.2.0", Root: &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: []string{"true"}, Cwd: "/", Env: []string{"PATH=/bin", "CUDA_VISIBLE_DEVICES=2", "SAME=1"}},
		Mounts:  []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}, {Destination: "/dev/shm", Type: "tmpfs"}, {Destination: "/dev", Type: "tmpfs"}},
		Linux:   &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}}},
	}
}

func bind(from, to string) specs.Mount {
	return specs.Mount{Destination: to, Source: from, Type: "bind", Options: []string{"bind", "ro"}}
}

// List names the source and the rule of each change, and which one wins.
func TestList(t *testing.T) {
	edits := []bundle.Edit{
		{
			From: "profile hpc", Rule: "profile, default", Drop: []string{"linux.namespaces", "hostname"}, DropMounts: []string{"/dev"},
			MountsFirst: []specs.Mount{bind("/dev", "/dev")}, Cwd: "/home/x",
			Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace, Path: "/proc/1/ns/pid"}},
		},
		{
			From: "nvidia devices", Rule: "SLURM_STEP_GPUS=2",
			Env: []string{"CUDA_VISIBLE_DEVICES=0", "SAME=1"}, EnvDefault: []string{"PATH=/usr/bin", "NEW=1"}, EnvPrepend: []string{"PATH=/opt"},
			Devices: []bundle.Device{{LinuxDevice: specs.LinuxDevice{Path: "/dev/nvidia2", Type: "c", Major: 195, Minor: 2}, Access: "rw"}},
		},
		{
			From: "gpu libraries", Mounts: []specs.Mount{bind("/usr/lib/libcuda.so.1", "/run/lib/libcuda.so.1")},
			Links: []bundle.Link{{Path: "/run/lib/libcuda.so", Target: "libcuda.so.1"}}, Files: []bundle.File{{Path: "/etc/ld.so.cache", Data: []byte("12345")}},
		},
		{
			From: "mpi", Mounts: []specs.Mount{bind("/x", "/etc//ld.so.cache"), bind("/y", "/proc")}, Env: []string{"NEW=2\x1b[1m"},
			Hooks: &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/x", Args: []string{"x", "y"}}}},
		},
	}
	const want = `profile hpc: profile, default
  drop       linux.namespaces
  drop       hostname
  drop       mount /dev  [over config.json: tmpfs]
  drop       mount /dev/shm  [over config.json: tmpfs]
  set        process.cwd /home/x  [over config.json: /]
  mount      /dev <- /dev (bind,ro)
  namespace  pid /proc/1/ns/pid
nvidia devices: SLURM_STEP_GPUS=2
  env        CUDA_VISIBLE_DEVICES=0  [over config.json: 2]
  env        SAME=1
  env        PATH=/usr/bin  [overridden by config.json]
  env        NEW=1  [overridden by mpi]
  prepend    PATH=/opt
  device     /dev/nvidia2 c 195:2 rw
gpu libraries
  mount      /run/lib/libcuda.so.1 <- /usr/lib/libcuda.so.1 (bind,ro)
  link       /run/lib/libcuda.so -> libcuda.so.1
  file       /etc/ld.so.cache 5 bytes  [overridden by mpi]
mpi
  env        NEW="2\x1b[1m"  [over nvidia devices: 1]
  mount      /etc//ld.so.cache <- /x (bind,ro)  [over gpu libraries: 5 bytes]
  mount      /proc <- /y (bind,ro)  [over config.json: proc]
  hook       poststop /bin/x y
`
	var got bytes.Buffer
	if err := Write(&got, List(config(), edits)); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// The winner in a List is the winner in bundle.Apply.
func TestListIsWhatApplyDoes(t *testing.T) {
	edits := []bundle.Edit{
		{From: "a", Env: []string{"X=1", "Y=1"}, EnvDefault: []string{"Z=1"}, Mounts: []specs.Mount{bind("/a", "/m")}, Cwd: "/a"},
		{From: "b", Env: []string{"Y=2"}, EnvDefault: []string{"X=2", "Z=2", "PATH=/b"}, Mounts: []specs.Mount{bind("/b", "/m/")}, Cwd: "/b"},
		{From: "c", DropMounts: []string{"/m"}, EnvDefault: []string{"W=3"}},
		{From: "d", MountsAt: []bundle.MountsAt{{Index: 1, Replaced: 1, Mounts: []specs.Mount{bind("/d", "dev/shm"), bind("/e", "/e")}}}},
		{From: "e", MountsAt: []bundle.MountsAt{{Index: 2, Replaced: 1}}},
	}
	spec := config()
	changes := List(spec, edits)
	b := &bundle.Bundle{Spec: spec}
	if err := b.Apply(edits...); err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		var holds bool
		switch c.Kind {
		case Env:
			holds = slices.Contains(spec.Process.Env, c.Name+"="+c.Value)
		case Mount:
			holds = slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool { return source(m) == c.Value })
		case Set:
			holds = spec.Process.Cwd == c.Value
		default:
			continue
		}
		if holds != (c.LostTo == "") {
			t.Errorf("%+v, and it is so: %v", c, holds)
		}
	}
}

// List covers everything that an edit can do.
func TestEveryFieldOfAnEdit(t *testing.T) {
	full := bundle.Edit{
		Drop: []string{"hostname"}, DropMounts: []string{"/proc"}, Args: []string{"x"}, Cwd: "/x", NoNewPrivileges: true,
		EnvUnset: []string{"U"}, Env: []string{"A=1"}, EnvDefault: []string{"B=1"}, EnvPrepend: []string{"C=1"}, Namespaces: []specs.LinuxNamespace{{Type: specs.UserNamespace}},
		UIDMappings: []specs.LinuxIDMapping{{Size: 1}}, GIDMappings: []specs.LinuxIDMapping{{Size: 1}}, User: &specs.User{UID: 1}, AdditionalGids: []uint32{7},
		Seccomp:  &specs.LinuxSeccomp{DefaultAction: specs.ActAllow},
		Terminal: true, Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_X"}}, MountsAt: []bundle.MountsAt{{Index: 1, Replaced: 1}},
		Mounts: []specs.Mount{bind("/a", "/a")}, MountsFirst: []specs.Mount{bind("/b", "/b")},
		Devices: []bundle.Device{{LinuxDevice: specs.LinuxDevice{Path: "/dev/x", Type: "c"}, HostPath: "/dev/y"}},
		Links:   []bundle.Link{{Path: "/l", Target: "t"}}, Files: []bundle.File{{Path: "/f"}}, Directories: []string{"/d"},
		Hooks: &specs.Hooks{StartContainer: []specs.Hook{{Path: "/h"}}}, RootPath: "/r", RootReadonly: true, Layer: &bundle.Layer{Size: "1m"}, Annotations: map[string]string{"k": "v"},
	}
	v := reflect.ValueOf(full)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "From" || name == "Rule" || name == "Exact" { // which control how the edit is applied
			continue
		}
		if v.Field(i).IsZero() {
			t.Errorf("the test lacks %s", name)
		}
		one := reflect.New(v.Type()).Elem()
		one.Field(i).Set(v.Field(i))
		if e, ok := one.Interface().(bundle.Edit); !ok || len(List(config(), []bundle.Edit{e})) != 1 {
			t.Errorf("an edit of %s alone is not one change", name)
		}
	}
}

func TestDiff(t *testing.T) {
	before, after := config(), config()
	after.Process.Cwd = "/x"
	got, err := Diff(before, after)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"--- config.json\n", "-    \"cwd\": \"/\"\n", "+    \"cwd\": \"/x\"\n"} {
		if !strings.Contains(string(got), line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if got, err := Diff(before, config()); err != nil || len(got) > 0 {
		t.Errorf("nothing differs: %s, %v", got, err)
	}
}

// An edit that changes nothing is listed with its reason.
func TestListNothing(t *testing.T) {
	got := List(&specs.Spec{}, []bundle.Edit{{From: "mpi", Rule: "the image's own"}, {From: "gpu"}})
	if len(got) != 1 || got[0].Kind != Nothing || got[0].Rule != "the image's own" {
		t.Errorf("got %+v", got)
	}
}
