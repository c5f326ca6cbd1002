package stateroot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// In a directory that users share, anybody can take the name of another user's root. That user then
// gets another one. All processes that start at once agree on it, those that look for state find
// it, and it stays in use when the name becomes free.
func TestSquatted(t *testing.T) {
	shared := sharedDirectory(t)
	root, other := filepath.Join(shared, "1000"), filepath.Join(t.TempDir(), "other")
	squat(t, root)
	dirs := make([]string, 64)
	var wg sync.WaitGroup
	for i := range dirs {
		wg.Go(func() {
			var err error
			if dirs[i], err = Make(root, other); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, dir := range dirs {
		if dir != dirs[0] || !strings.HasPrefix(dir, root+".") {
			t.Fatalf("the tasks have %v", dirs)
		}
	}
	// Directories that squatters make beside it are ignored.
	forged := root + "." + strings.Repeat("0", 2*randomBytes)
	squat(t, forged)
	usable, failures := Existing(root, other)
	if len(usable) != 1 || usable[0] != dirs[0] || len(failures) != 1 {
		t.Errorf("found %v, %v", usable, failures)
	}
	for _, name := range []string{root, forged} {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	if dir, err := Make(root, other); err != nil || dir != dirs[0] {
		t.Errorf("when the name is free again: %s, %v, want %s", dir, err, dirs[0])
	}
	if entries, err := os.ReadDir(shared); err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// A named root has no alternative, and a directory of the user's own does not count as shared.
func TestNoAlternative(t *testing.T) {
	root := filepath.Join(sharedDirectory(t), "1000")
	squat(t, root)
	if dir, err := Make(root); !errors.Is(err, ErrUnsafe) {
		t.Errorf("a single root that is another's: %s, %v", dir, err)
	}
	private := filepath.Join(t.TempDir(), "1000")
	squat(t, private)
	want := filepath.Join(t.TempDir(), "next")
	if dir, err := Make(private, want); err != nil || dir != want {
		t.Errorf("in a directory that is not shared: %s, %v, want %s", dir, err, want)
	}
}

func sharedDirectory(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can make what belongs to another user; CI is root")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	return dir
}

// squat gives the directory to another user.
func squat(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.Mkdir(path, 0o700), os.Chown(path, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
}
