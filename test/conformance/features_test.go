//go:build integration

package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestFeatures compares the output of `features` with runc's, of the same libcontainer: they are
// equal, except for the annotations about the runtime itself.
func TestFeatures(t *testing.T) {
	runc := filepath.Join(suiteDir, theirs)
	if _, err := os.Stat(runc); err != nil {
		skip(t, err.Error()+": hack/suite makes it")
	}
	if version := runcVersion(t); !strings.Contains(version, pinned(t, "github.com/opencontainers/runc")) {
		t.Fatalf("%s, but go.mod has another version", version)
	}
	own, want := features(t, filepath.Join(repo, "build", "bin", ours)), features(t, runc)
	removeOwn(t, own, "org.ocishim.")
	removeOwn(t, want, "org.opencontainers.runc.")
	compare(t, "features", own, want)
}

func features(t *testing.T, program string) map[string]any {
	t.Helper()
	out, err := exec.Command(program, "features").Output()
	if err != nil {
		t.Fatalf("%s features: %v", program, err)
	}
	said := map[string]any{}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("%s features: %v: %s", program, err, out)
	}
	return said
}

// removeOwn removes the annotations with the prefix, and requires that there are some.
func removeOwn(t *testing.T, features map[string]any, prefix string) {
	t.Helper()
	annotations, _ := features["annotations"].(map[string]any)
	before := len(annotations)
	for name := range annotations {
		if strings.HasPrefix(name, prefix) {
			delete(annotations, name)
		}
	}
	if len(annotations) == before {
		t.Errorf("no annotation %s*", prefix)
	}
}

// compare reports the innermost differences.
func compare(t *testing.T, path string, own, want any) {
	t.Helper()
	a, isMap := own.(map[string]any)
	b, areMaps := want.(map[string]any)
	if !isMap || !areMaps {
		if !reflect.DeepEqual(own, want) {
			t.Errorf("%s: %v, runc has %v", path, own, want)
		}
		return
	}
	for name := range a {
		if _, both := b[name]; !both {
			t.Errorf("%s.%s: %v, runc has none", path, name, a[name])
		}
	}
	for name := range b {
		compare(t, path+"."+name, a[name], b[name])
	}
}
