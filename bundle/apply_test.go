package bundle

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestApplyEnv(t *testing.T) {
	tests := map[string]struct {
		env   []string
		edits []Edit
		want  []string
	}{
		"nothing":             {nil, []Edit{{}}, nil},
		"set in place":        {[]string{"A=1", "B=2", "C=3"}, []Edit{{Env: []string{"B=x=y", "D=4"}}}, []string{"A=1", "B=x=y", "C=3", "D=4"}},
		"last edit wins":      {[]string{"A=1"}, []Edit{{Env: []string{"A=2", "A=3"}}, {Env: []string{"A=4"}}}, []string{"A=4"}},
		"collapse":            {[]string{"A=1", "B=1", "A=2", "C=1", "B=2"}, nil, []string{"A=2", "C=1", "B=2"}},
		"collapse and set":    {[]string{"A=1", "B=1", "A=2"}, []Edit{{Env: []string{"A=3"}}}, []string{"B=1", "A=3"}},
		"unset":               {[]string{"A=1", "B=2", "C=3", "B=4"}, []Edit{{EnvUnset: []string{"B", "X"}, Env: []string{"C=5", "D=6"}}}, []string{"A=1", "C=5", "D=6"}},
		"unset and set":       {[]string{"A=1", "B=2"}, []Edit{{EnvUnset: []string{"A"}, EnvDefault: []string{"A=3"}}}, []string{"B=2", "A=3"}},
		"default":             {[]string{"A="}, []Edit{{EnvDefault: []string{"A=1", "B=2", "B=3"}}}, []string{"A=", "B=2"}},
		"default after set":   {nil, []Edit{{Env: []string{"A=1"}, EnvDefault: []string{"A=2"}}}, []string{"A=1"}},
		"case of names":       {[]string{"a=1"}, []Edit{{Env: []string{"A=2"}}}, []string{"a=1", "A=2"}},
		"prepend":             {[]string{"P=/a:/b"}, []Edit{{EnvPrepend: []string{"P=/c"}}}, []string{"P=/c:/a:/b"}},
		"prepend each":        {[]string{"P=/a"}, []Edit{{EnvPrepend: []string{"P=/b", "P=/c"}}, {EnvPrepend: []string{"P=/d"}}}, []string{"P=/d:/c:/b:/a"}},
		"prepend to none":     {nil, []Edit{{EnvPrepend: []string{"P=/a"}}}, []string{"P=/a"}},
		"prepend to empty":    {[]string{"P="}, []Edit{{EnvPrepend: []string{"P=/a"}}}, []string{"P=/a"}},
		"prepend again":       {[]string{"P=/a:/b"}, []Edit{{EnvPrepend: []string{"P=/a"}}}, []string{"P=/a:/b"}},
		"prepend the same":    {[]string{"P=/a"}, []Edit{{EnvPrepend: []string{"P=/a"}}}, []string{"P=/a"}},
		"prepend a prefix":    {[]string{"P=/ab"}, []Edit{{EnvPrepend: []string{"P=/a"}}}, []string{"P=/a:/ab"}},
		"prepend after set":   {[]string{"P=/a"}, []Edit{{Env: []string{"P=/x"}, EnvPrepend: []string{"P=/y"}}}, []string{"P=/y:/x"}},
		"prepend is not lost": {nil, []Edit{{EnvPrepend: []string{"P=/y"}}, {EnvDefault: []string{"P=/z"}}}, []string{"P=/y"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := loadMinimal(t, func(s *specs.Spec) { s.Process.Env = slices.Clone(test.env) })
			if err := b.Apply(test.edits...); err != nil {
				t.Fatal(err)
			}
			if got := b.Spec.Process.Env; !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestApplyMounts(t *testing.T) {
	mounts := func(list string) (mounts []specs.Mount) {
		for _, entry := range strings.Fields(list) {
			dst, src, _ := strings.Cut(entry, "=")
			mounts = append(mounts, specs.Mount{Destination: dst, Source: src})
		}
		return mounts
	}
	tests := map[string]struct{ spec, first, second, want string }{
		"append":                {"/proc=1 /dev=2", "/data=3", "", "/proc=1 /dev=2 /data=3"},
		"replace in place":      {"/proc=1 /dev=2 /sys=3", "/dev=x", "", "/proc=1 /dev=x /sys=3"},
		"replace is cleaned":    {"/var/run/slurm/=1 data=2", "/var//run/./slurm=x /data=y", "", "/var//run/./slurm=x /data=y"},
		"depth of an edit":      {"/z/z/z=1", "/a/b/c=1 /b=2 /a/b=3 /a=4", "", "/z/z/z=1 /b=2 /a=4 /a/b=3 /a/b/c=1"},
		"edits are not sorted":  {"", "/a/b=1", "/a=2", "/a/b=1 /a=2"},
		"same depth is stable":  {"", "/b=1 /a=2 /c=3", "", "/b=1 /a=2 /c=3"},
		"second edit wins":      {"", "/a=1", "/a=2", "/a=2"},
		"twice in one edit":     {"", "/a/b=1 /a/b/=2", "", "/a/b/=2"},
		"stacked: hides others": {"/a=1 /b=2 /a=3", "/a=x", "", "/a=1 /b=2 /a=x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := loadMinimal(t, func(s *specs.Spec) { s.Mounts = mounts(test.spec) })
			if err := b.Apply(Edit{Mounts: mounts(test.first)}, Edit{Mounts: mounts(test.second)}); err != nil {
				t.Fatal(err)
			}
			if want := mounts(test.want); !reflect.DeepEqual(b.Spec.Mounts, want) {
				t.Errorf("got %v, want %v", b.Spec.Mounts, want)
			}
		})
	}
}

// MountsFirst come before the container's own mounts, in the edit's order, and replace nothing.
func TestApplyMountsFirst(t *testing.T) {
	b := loadMinimal(t, func(s *specs.Spec) { s.Mounts = []specs.Mount{{Destination: "/a", Source: "spec"}} })
	first := []specs.Mount{{Destination: "/b/c"}, {Destination: "/b"}, {Destination: "/a", Source: "first"}}
	if err := b.Apply(Edit{MountsFirst: first, Mounts: []specs.Mount{{Destination: "/z"}}}); err != nil {
		t.Fatal(err)
	}
	// A later edit replaces what is seen at /a, not what lies below it.
	if err := b.Apply(Edit{Mounts: []specs.Mount{{Destination: "/a", Source: "later"}}}); err != nil {
		t.Fatal(err)
	}
	want := append(slices.Clone(first), specs.Mount{Destination: "/a", Source: "later"}, specs.Mount{Destination: "/z"})
	if !reflect.DeepEqual(b.Spec.Mounts, want) {
		t.Errorf("got %v, want %v", b.Spec.Mounts, want)
	}
}

func TestApplyMountsAt(t *testing.T) {
	list := func(names string) (mounts []specs.Mount) {
		for name := range strings.FieldsSeq(names) {
			mounts = append(mounts, specs.Mount{Destination: "/" + name, Type: "tmpfs"})
		}
		return mounts
	}
	for name, test := range map[string]struct {
		edit Edit
		want string
	}{
		"put before":    {Edit{MountsAt: []MountsAt{{Index: 1, Mounts: list("x y")}}}, "a x y b c b"},
		"replaced":      {Edit{MountsAt: []MountsAt{{Index: 1, Replaced: 1, Mounts: list("x")}, {Index: 3, Replaced: 1, Mounts: list("y z")}}}, "a x c y z"},
		"taken out":     {Edit{MountsAt: []MountsAt{{Replaced: 3}}}, "b"},
		"twice":         {Edit{MountsAt: []MountsAt{{Index: 1, Mounts: list("x")}, {Index: 1, Mounts: list("y")}}}, "a x y b c b"},
		"at the end":    {Edit{MountsAt: []MountsAt{{Index: 4, Mounts: list("x")}}}, "a b c b x"},
		"beyond":        {Edit{MountsAt: []MountsAt{{Index: 2, Replaced: 9}, {Index: 11, Mounts: list("x")}}}, "a b x"},
		"after drops":   {Edit{DropMounts: []string{"/a"}, MountsAt: []MountsAt{{Index: 1, Replaced: 1}}}, "b b"},
		"before others": {Edit{MountsAt: []MountsAt{{Index: 3, Replaced: 1}}, Mounts: list("b d"), MountsFirst: list("f")}, "f a b c d"},
	} {
		t.Run(name, func(t *testing.T) {
			b := loadMinimal(t, nil)
			b.Spec.Mounts = list("a b c b")
			if err := b.Apply(test.edit); err != nil {
				t.Fatal(err)
			}
			if want := list(test.want); !reflect.DeepEqual(b.Spec.Mounts, want) {
				t.Errorf("got %+v\nwant %+v", b.Spec.Mounts, want)
			}
		})
	}
}

func TestApplyRest(t *testing.T) {
	b := loadMinimal(t, nil) // no linux section, no annotations
	if err := b.Apply(Edit{Namespaces: []specs.LinuxNamespace{{Type: "user"}}}); err != nil {
		t.Fatal(err)
	}
	b.Applied = nil
	edit := Edit{
		From:        "slurm",
		Namespaces:  []specs.LinuxNamespace{{Type: "user", Path: "/proc/7/ns/user"}, {Type: "mount"}},
		UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}},
		User:        &specs.User{UID: 5, GID: 6, AdditionalGids: []uint32{7}},
		Annotations: map[string]string{"a": "1"},
	}
	if err := b.Apply(edit, Edit{Annotations: map[string]string{"a": "2", "b": "3"}, GIDMappings: []specs.LinuxIDMapping{{Size: 9}}}); err != nil {
		t.Fatal(err)
	}
	want := `{"uidMappings":[{"containerID":0,"hostID":1000,"size":1}],"gidMappings":[{"containerID":0,"hostID":0,"size":9}],` +
		`"namespaces":[{"type":"user","path":"/proc/7/ns/user"},{"type":"mount"}]}`
	if got := marshal(t, b.Spec.Linux); got != want {
		t.Errorf("linux is %s, want %s", got, want)
	}
	if got := marshal(t, b.Spec.Process.User); got != `{"uid":5,"gid":6,"additionalGids":[7]}` {
		t.Errorf("user is %s", got)
	}
	if got := marshal(t, b.Spec.Annotations); got != `{"a":"2","b":"3"}` {
		t.Errorf("annotations are %s", got)
	}
	if len(b.Applied) != 2 || !reflect.DeepEqual(b.Applied[0], edit) {
		t.Errorf("applied is %+v", b.Applied)
	}
}

func TestApplyRootPath(t *testing.T) {
	b := loadMinimal(t, nil)
	other := makeBundle(t, minimal)
	try(t, os.Symlink("rootfs", other+"/link"))
	if err := b.Apply(Edit{RootPath: other + "/link"}); err != nil {
		t.Fatal(err)
	}
	if b.Rootfs != other+"/rootfs" || b.Spec.Root.Path != other+"/link" {
		t.Errorf("Rootfs is %q, root.path %q", b.Rootfs, b.Spec.Root.Path)
	}
}

// A wrong edit is named; neither it nor the edits before it change anything.
func TestApplyRefuses(t *testing.T) {
	tests := map[string]struct {
		edit Edit
		text string
	}{
		"mounts at":     {Edit{MountsAt: []MountsAt{{Index: 1, Replaced: 2}, {Index: 2}}}, "mountsAt[1].index: 2 is less than 3"},
		"mounts back":   {Edit{MountsAt: []MountsAt{{Replaced: -1}}}, "mountsAt[0].replaced: -1 is not"},
		"mounts placed": {Edit{MountsAt: []MountsAt{{Mounts: []specs.Mount{{}}}}}, "mountsAt[0].mounts[0].destination: missing"},
		"env":           {Edit{Env: []string{"A=1", "B"}}, "env[1]: entry B has no '='"},
		"env unset":     {Edit{EnvUnset: []string{"A=B"}}, `envUnset[0]: "A=B" is not the name of a variable`},
		"env default":   {Edit{EnvDefault: []string{"=B"}}, "envDefault[0]: entry =B has no name"},
		"env prepend":   {Edit{EnvPrepend: []string{"B=\x00"}}, `envPrepend[0]: entry "B=\x00" contains a NUL byte`},
		"mount":         {Edit{Mounts: []specs.Mount{{}}}, "mounts[0].destination: missing"},
		"mount first":   {Edit{MountsFirst: []specs.Mount{{}}}, "mountsFirst[0].destination: missing"},
		"mount of root": {Edit{Mounts: []specs.Mount{{Destination: "/.."}}}, "mounts[0].destination: /.. is the root"},
		"namespace":     {Edit{Namespaces: []specs.LinuxNamespace{{Type: "net"}}}, "namespaces[0].type: unknown type"},
		"mapping":       {Edit{GIDMappings: []specs.LinuxIDMapping{{}}}, "gidMappings[0].size: missing or 0"},
		"twice":         {Edit{Namespaces: []specs.LinuxNamespace{{Type: "pid"}, {Type: "pid"}}}, "namespaces[1].type: pid is already set"},
		"relative root": {Edit{RootPath: "rootfs"}, "rootPath: rootfs is not an absolute path"},
		"missing root":  {Edit{RootPath: "/nowhere/at/all"}, "rootPath: no root filesystem: /nowhere: no such file or directory"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := loadMinimal(t, nil)
			before, rootfs := marshal(t, b.Spec), b.Rootfs
			test.edit.From = "gpu"
			err := b.Apply(Edit{Env: []string{"X=1"}, RootPath: filepath.Dir(b.Rootfs)}, test.edit)
			if err == nil || !strings.HasPrefix(err.Error(), "apply edit gpu: "+test.text) {
				t.Errorf("got %v, want %s", err, test.text)
			}
			var bad *ConfigError
			if !errors.As(err, &bad) {
				t.Errorf("%v is no ConfigError", err)
			}
			if marshal(t, b.Spec) != before || b.Rootfs != rootfs || len(b.Applied) != 0 {
				t.Error("the bundle was changed")
			}
		})
	}
}

func TestApplyWrongSpecEnv(t *testing.T) {
	b := loadMinimal(t, func(s *specs.Spec) { s.Process.Env = []string{"A=1", "A=2", "B"} })
	if err := b.Apply(); err == nil || err.Error() != "validate "+b.Dir+"/config.json: process.env[2]: entry B has no '='" {
		t.Error(err)
	}
}

func TestApplyWithoutProcess(t *testing.T) {
	b := loadMinimal(t, func(s *specs.Spec) { s.Process = nil })
	for _, e := range []Edit{{Env: []string{"A=1"}}, {EnvPrepend: []string{"A=1"}}, {User: new(specs.User)}} {
		if err := b.Apply(e); err == nil || !strings.Contains(err.Error(), "process: missing") {
			t.Error(err)
		}
	}
	if err := b.Apply(Edit{Annotations: map[string]string{"a": "b"}}); err != nil {
		t.Error(err)
	}
}

func fullEdit() Edit {
	return Edit{
		From: "all", EnvUnset: []string{"U"}, Env: []string{"A=1"}, EnvDefault: []string{"B=1"}, EnvPrepend: []string{"C=1"},
		Namespaces:  []specs.LinuxNamespace{{Type: "pid"}},
		UIDMappings: []specs.LinuxIDMapping{{Size: 1}}, GIDMappings: []specs.LinuxIDMapping{{Size: 1}},
		User: &specs.User{UID: 1, Umask: ptr(uint32(2)), AdditionalGids: []uint32{3}},
		Mounts: []specs.Mount{{
			Destination: "/d", Source: "/s", Options: []string{"bind"},
			UIDMappings: []specs.LinuxIDMapping{{Size: 1}}, GIDMappings: []specs.LinuxIDMapping{{Size: 1}},
		}},
		MountsAt:    []MountsAt{{Index: 1, Replaced: 1, Mounts: []specs.Mount{{Destination: "/e", Source: "/s", Options: []string{"bind"}}}}},
		Exact:       []string{"/f"},
		MountsFirst: []specs.Mount{{Destination: "/f", Source: "/s", Options: []string{"bind"}}},
		Capabilities: &specs.LinuxCapabilities{
			Bounding: []string{"A"}, Effective: []string{"A"}, Inheritable: []string{"A"}, Permitted: []string{"A"}, Ambient: []string{"A"},
		},
		Seccomp: &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow, DefaultErrnoRet: ptr(uint(1)), Architectures: []specs.Arch{specs.ArchX86}, Flags: []specs.LinuxSeccompFlag{"f"},
			Syscalls: []specs.LinuxSyscall{{Names: []string{"chown"}, Action: specs.ActErrno, ErrnoRet: ptr(uint(0)), Args: []specs.LinuxSeccompArg{{Op: specs.OpEqualTo}}}},
		},
		RootPath: "/usr", RootReadonly: true, Layer: &Layer{Size: "1m"}, Annotations: map[string]string{"a": "b"}, Terminal: true,
		Rule: "all of them", AdditionalGids: []uint32{4},
		Drop: []string{"hostname"}, DropMounts: []string{"/gone"}, Args: []string{"true"}, Cwd: "/tmp", NoNewPrivileges: true,
		Devices: []Device{{
			LinuxDevice: specs.LinuxDevice{Path: "/dev/x", Type: "c", Major: 1, Minor: 2, FileMode: ptr(os.FileMode(0o666)), UID: ptr(uint32(0)), GID: ptr(uint32(1))},
			HostPath:    "/dev/y", Access: "rw",
		}},
		Directories: []string{"/n"},
		Links:       []Link{{Path: "/l", Target: "t"}}, Files: []File{{Path: "/g", Data: []byte("x"), Optional: true}},
		Hooks: &specs.Hooks{
			Prestart:      []specs.Hook{{Path: "/h", Args: []string{"h"}, Env: []string{"A=1"}, Timeout: ptr(1)}}, //nolint:staticcheck // CDI has it
			CreateRuntime: []specs.Hook{{Path: "/h"}}, CreateContainer: []specs.Hook{{Path: "/h"}},
			StartContainer: []specs.Hook{{Path: "/h"}}, Poststart: []specs.Hook{{Path: "/h"}}, Poststop: []specs.Hook{{Path: "/h"}},
		},
	}
}

// scramble changes everything that can be reached through a slice, pointer or map.
func scramble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scramble(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			scramble(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			scramble(v.Field(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			v.SetMapIndex(key, reflect.ValueOf("scrambled"))
		}
	case reflect.String:
		v.SetString("scrambled")
	case reflect.Uint32, reflect.Uint:
		v.SetUint(4711)
	case reflect.Uint8:
		v.SetUint(47)
	case reflect.Int:
		v.SetInt(4711)
	}
}

func TestApplyAliasesNothing(t *testing.T) {
	b := loadMinimal(t, nil)
	edit := fullEdit()
	for v, i := reflect.ValueOf(edit), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("fullEdit lacks %s", v.Type().Field(i).Name)
		}
	}
	if err := b.Apply(edit); err != nil {
		t.Fatal(err)
	}
	spec := marshal(t, b.Spec)
	scramble(reflect.ValueOf(&edit))
	if marshal(t, b.Spec) != spec || !reflect.DeepEqual(b.Applied, []Edit{fullEdit()}) {
		t.Error("the bundle shares memory with the edit")
	}
	scramble(reflect.ValueOf(b.Spec))
	if !reflect.DeepEqual(b.Applied, []Edit{fullEdit()}) {
		t.Error("Applied shares memory with Spec")
	}
}

func TestEditJSON(t *testing.T) {
	var back Edit
	if err := json.Unmarshal([]byte(marshal(t, fullEdit())), &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, fullEdit()) {
		t.Errorf("got %+v", back)
	}
	if got := marshal(t, Edit{From: "x"}); got != `{"from":"x"}` {
		t.Errorf("an empty edit is %s", got)
	}
}

func TestEditEmpty(t *testing.T) {
	if !(Edit{From: "x", Rule: "y", Env: []string{}}).Empty() {
		t.Error("an edit with words alone changes something")
	}
	full := reflect.ValueOf(fullEdit())
	for i := range full.NumField() {
		var e Edit
		reflect.ValueOf(&e).Elem().Field(i).Set(full.Field(i))
		name := full.Type().Field(i).Name
		if words := name == "From" || name == "Rule"; e.Empty() != words {
			t.Errorf("an edit of %s: empty is %v", name, e.Empty())
		}
	}
}

func BenchmarkApply(b *testing.B) {
	config := captured(b)["slurm-24.11-srun-n2-pmix-task0.json"]
	edit := Edit{EnvPrepend: []string{"LD_LIBRARY_PATH=/usr/lib/host"}}
	for i := range 100 { // what a host with eight GPUs injects
		file := "/usr/lib/x86_64-linux-gnu/libnvidia" + strings.Repeat("x", i) + ".so"
		edit.Mounts = append(edit.Mounts, specs.Mount{Destination: file, Source: file, Options: []string{"bind", "ro"}})
	}
	dir := makeBundle(b, config)
	for b.Loop() {
		b.StopTimer()
		loaded, err := Load(dir)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := loaded.Apply(edit); err != nil {
			b.Fatal(err)
		}
	}
}
