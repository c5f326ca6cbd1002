package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// No known advisory affects a version in go.mod; and one that does is found.
func TestAdvisories(t *testing.T) {
	if out, err := advisories(t, ""); err != nil {
		t.Errorf("hack/advisories --pinned: %v\n%s", err, out)
	}
	list := filepath.Join(t.TempDir(), "advisories.txt")
	if err := os.WriteFile(list, []byte("golang.org/x/sys v999.0.0 CVE-OF-A-TEST\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := advisories(t, list); err == nil || !strings.Contains(out, "CVE-OF-A-TEST, without the fault from v999.0.0 on") {
		t.Errorf("an advisory about a pinned version is not told: %v\n%s", err, out)
	}
}

func advisories(t *testing.T, list string) (string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join("hack", "advisories"), "--pinned")
	cmd.Dir = moduleRoot
	cmd.Env = os.Environ()
	if list != "" {
		cmd.Env = append(cmd.Env, "ADVISORIES="+list)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
