package request

import (
	"fmt"
	"strings"
	"testing"
)

// told reads a request by two sources, and prints what it keeps with who wrote it.
func told(t *testing.T, annotations map[string]string, env ...string) (string, error) {
	t.Helper()
	r, err := Read(annotations, env, true)
	if err != nil {
		return "", err
	}
	var words []string
	if r.RemapRoot.Value != "" {
		words = append(words, "root="+r.RemapRoot.Value)
	}
	for _, c := range r.Unshare {
		words = append(words, "unshare="+c.Value)
	}
	for _, c := range r.Devices {
		words = append(words, "cdi="+c.Value)
	}
	for _, c := range r.DeviceNodes {
		words = append(words, "node="+c.Value)
	}
	return strings.Join(words, " "), nil
}

func TestIsolationKeys(t *testing.T) {
	for _, test := range []struct{ annotation, env, want string }{
		{"remap_root=yes", "", "root=true"},
		{"remap_root=yes", "OCISHIM_REMAP_ROOT=n", "root=false"},
		{"remap_root=FORCE", "", "root=force"},
		{"", "PYXIS_CONTAINER_REMAP_ROOT=1", "root=true"},
		{"unshare=net,PID", "OCISHIM_UNSHARE=uts,net", "unshare=net unshare=pid unshare=uts"},
		{"", "PYXIS_CONTAINER_UNSHARE=ipc", "unshare=ipc"},
		{"devices=a.b/c=d,/dev/fuse", "OCISHIM_DEVICES=/dev/fuse,e.f/g=h", "cdi=a.b/c=d cdi=e.f/g=h node=/dev/fuse"},
	} {
		annotations := map[string]string{}
		if key, value, found := strings.Cut(test.annotation, "="); found {
			annotations["org.ocishim."+key] = value
		}
		if got, err := told(t, annotations, test.env); err != nil || got != test.want {
			t.Errorf("%s, %s: %q, %v; want %q", test.annotation, test.env, got, err, test.want)
		}
	}
}

func TestWrongIsolationKeys(t *testing.T) {
	for env, want := range map[string]string{
		"OCISHIM_REMAP_ROOT=maybe":     `OCISHIM_REMAP_ROOT: expected true or false, not "maybe": choose true, false or force`,
		"OCISHIM_UNSHARE=net,ncp":      `OCISHIM_UNSHARE: unknown namespace "ncp": choose from net, ipc, uts, pid`,
		"PYXIS_CONTAINER_UNSHARE=nets": `did you mean net?`,
		"OCISHIM_DEVICES=/etc/passwd":  `"/etc/passwd" is not the path of a device node in /dev`,
		"OCISHIM_DEVICES=/dev/../x":    `"/dev/../x" is not the path of a device node in /dev`,
		"OCISHIM_DEVICES=/dev":         `"/dev" is not the path of a device node in /dev`,
	} {
		if got, err := told(t, nil, env); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %q, %v", env, got, err)
		}
	}
}
