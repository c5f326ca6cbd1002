package bundle

import (
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func node(path string, minor int64) specs.LinuxDevice {
	return specs.LinuxDevice{Path: path, Type: "c", Major: 195, Minor: minor}
}

func TestApplyDevices(t *testing.T) {
	b := loadMinimal(t, func(s *specs.Spec) {
		s.Linux = &specs.Linux{Devices: []specs.LinuxDevice{node("/dev/a", 1), node("/dev/b", 2)}}
	})
	if err := b.Apply(
		Edit{Devices: []Device{{LinuxDevice: node("/dev//b", 3), Access: "rw"}, {LinuxDevice: node("/dev/c", 4)}}},
		Edit{Devices: []Device{{LinuxDevice: node("/dev/d", 5), HostPath: "/dev/other", Access: "r"}, {LinuxDevice: node("/dev/c", 6), HostPath: "/dev/c"}}},
	); err != nil {
		t.Fatal(err)
	}
	if want := []specs.LinuxDevice{node("/dev/a", 1), node("/dev//b", 3), node("/dev/c", 6)}; !reflect.DeepEqual(b.Spec.Linux.Devices, want) {
		t.Errorf("devices are %v, want %v", b.Spec.Linux.Devices, want)
	}
	want := `[{"allow":true,"type":"c","major":195,"minor":3,"access":"rw"},{"allow":true,"type":"c","major":195,"minor":5,"access":"r"}]`
	if got := marshal(t, b.Spec.Linux.Resources.Devices); got != want {
		t.Errorf("rules are %s, want %s", got, want)
	}
	if m := b.Spec.Mounts; len(m) != 1 || m[0].Source != "/dev/other" || m[0].Destination != "/dev/d" || !IsBind(m[0]) {
		t.Errorf("mounts are %v", m)
	}
}

// For directories, links and files only the path counts, not depth: there is one per path.
func TestApplyLinksAndFiles(t *testing.T) {
	b := loadMinimal(t, nil)
	if err := b.Apply(
		Edit{Links: []Link{{"/a", "1"}, {"/b", "1"}}, Files: []File{{Path: "/f", Data: []byte("1")}}},
		Edit{Directories: []string{"/dev", "/n"}},
		Edit{Directories: []string{"/dev/"}, Links: []Link{{"/b/", "2"}}, Files: []File{{Path: "/f", Data: []byte("2")}, {Path: "/g"}}},
	); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/dev/", "/n"}; !reflect.DeepEqual(b.Directories, want) {
		t.Errorf("directories are %v, want %v", b.Directories, want)
	}
	if want := []Link{{"/a", "1"}, {"/b/", "2"}}; !reflect.DeepEqual(b.Links, want) {
		t.Errorf("links are %v, want %v", b.Links, want)
	}
	if want := []File{{Path: "/f", Data: []byte("2")}, {Path: "/g"}}; !reflect.DeepEqual(b.Files, want) {
		t.Errorf("files are %v, want %v", b.Files, want)
	}
}

func TestApplyHooksAndGroups(t *testing.T) {
	b := loadMinimal(t, func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/own"}}}
		s.Process.User.AdditionalGids = []uint32{7}
	})
	if err := b.Apply(Edit{
		AdditionalGids: []uint32{7, 8, 8},
		Hooks:          &specs.Hooks{Poststop: []specs.Hook{{Path: "/ours"}}, CreateContainer: []specs.Hook{{Path: "/cc"}}},
	}); err != nil {
		t.Fatal(err)
	}
	if got := marshal(t, b.Spec.Hooks); got != `{"createContainer":[{"path":"/cc"}],"poststop":[{"path":"/own"},{"path":"/ours"}]}` {
		t.Errorf("hooks are %s", got)
	}
	if got := b.Spec.Process.User.AdditionalGids; !reflect.DeepEqual(got, []uint32{7, 8}) {
		t.Errorf("groups are %v", got)
	}
}

func TestApplyRefusesInjected(t *testing.T) {
	tests := map[string]struct {
		edit Edit
		text string
	}{
		"device path": {Edit{Devices: []Device{{LinuxDevice: node("dev/x", 1)}}}, "devices[0].path: dev/x is not an absolute path"},
		"device type": {Edit{Devices: []Device{{LinuxDevice: specs.LinuxDevice{Path: "/dev/x", Type: "f"}}}}, `devices[0].type: unknown type "f"`},
		"host path":   {Edit{Devices: []Device{{LinuxDevice: node("/dev/x", 1), HostPath: "y"}}}, "devices[0].hostPath: y is not"},
		"access":      {Edit{Devices: []Device{{LinuxDevice: node("/dev/x", 1), Access: "rx"}}}, "devices[0].access: rx is not made of r, w and m"},
		"directory":   {Edit{Directories: []string{"/"}}, "directories[0].path: / is the root"},
		"link path":   {Edit{Links: []Link{{"a", "b"}}}, `links[0].path: "a" is not an absolute path`},
		"link to nil": {Edit{Links: []Link{{"/a", ""}}}, `links[0].target: "" cannot be the target`},
		"file path":   {Edit{Files: []File{{Path: "/.."}}}, "files[0].path: /.. is the root"},
		"hook":        {Edit{Hooks: &specs.Hooks{Poststop: []specs.Hook{{Path: "h"}}}}, "hooks.poststop[0].path: h is not an absolute path"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := loadMinimal(t, nil)
			test.edit.From = "gpu"
			if err := b.Apply(test.edit); err == nil || !strings.HasPrefix(err.Error(), "apply edit gpu: "+test.text) {
				t.Errorf("got %v, want %s", err, test.text)
			}
		})
	}
}
