package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// --version contains the commit of the source: from git, or from an archive that git made, and
// otherwise nothing.
func TestCommit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git is not here: ", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "hack"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"hack/commit": 0o755, ".commit": 0o644, ".gitattributes": 0o644} {
		data, err := os.ReadFile(filepath.Join(moduleRoot, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, mode); err != nil {
			t.Fatal(err)
		}
	}
	if got := commitOf(t, dir); got != "unknown" {
		t.Errorf("a copy without git: %q", got)
	}
	git(t, dir, "init", "-q")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-q", "-m", "first")
	want := git(t, dir, "rev-parse", "HEAD")
	if !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(want) {
		t.Fatalf("HEAD is %q", want)
	}
	git(t, dir, "tag", "v1.0.0") // a tag is not the commit
	if got := commitOf(t, dir); got != want {
		t.Errorf("by git: %q, want %q", got, want)
	}
	archive := t.TempDir()
	if out, err := exec.Command("sh", "-c", `git -C "$1" archive HEAD | tar -x -C "$2"`, "sh", dir, archive).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := commitOf(t, archive); got != want {
		t.Errorf("what git archived: %q, want %q", got, want)
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitattributes"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := commitOf(t, dir); got != want+"-dirty" {
		t.Errorf("a changed one: %q, want %s-dirty", got, want)
	}
}

func commitOf(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(dir, "hack", "commit")).Output()
	if err != nil {
		t.Fatalf("hack/commit: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}
