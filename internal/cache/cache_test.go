package cache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"golang.org/x/sys/unix"
)

func TestReadAndWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "when need be")
	if _, err := Read(dir, "a", 10); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, text := range []string{"first", "second"} {
		if err := Write(dir, "a", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, err := Read(dir, "a", 10); err != nil || string(data) != text {
			t.Errorf("%q, %v", data, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := Read(dir, "a", 5); !errors.Is(err, ErrUnfit) {
		t.Errorf("too large: %v", err)
	}
}

// Read refuses what another user may have written, and what could block.
func TestReadUnfit(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"writable by others": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666)) },
		"link":               func(path string) error { return os.Symlink("/etc/passwd", path) },
		"fifo":               func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory":          func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		dir := t.TempDir()
		if err := make(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
		if data, err := Read(dir, "a", 1<<20); err == nil {
			t.Errorf("%s: %q", name, data)
		}
	}
}

// Writing the next file removes half-written ones, unless another process may still be writing.
func TestHalves(t *testing.T) {
	dir := t.TempDir()
	now, old := filepath.Join(dir, halfPrefix+"now"), filepath.Join(dir, halfPrefix+"old")
	hour := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(now, nil, 0o600), os.WriteFile(old, nil, 0o600), os.Chtimes(old, hour, hour)); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, "a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("an old half stays")
	}
	if _, err := os.Stat(now); err != nil {
		t.Error("a new half goes")
	}
}

func TestAlone(t *testing.T) {
	dir := t.TempDir()
	release := Alone(dir, "lock")
	second := make(chan struct{})
	go func() {
		alone(dir, "lock", time.Hour)()
		close(second)
	}()
	waits := func() bool {
		select {
		case <-second:
			return false
		default:
			return true
		}
	}
	if !pace.Quiet(50*time.Millisecond, waits) {
		t.Error("the second does not wait")
	}
	release()
	<-second
	defer Alone(dir, "lock")()
	begin := time.Now()
	Alone(dir, "lock")()
	if waited := time.Since(begin); waited < lockPatience || waited > pace.Of(10*lockPatience) {
		t.Errorf("waited for %s", waited)
	}
}
