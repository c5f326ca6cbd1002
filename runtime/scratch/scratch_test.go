package scratch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/runtime/inplace"
)

func self(t *testing.T) process.ID {
	t.Helper()
	id, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A layer is over when its process has ended. What is not a layer stays.
func TestSweep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scratch")
	own, err := Make(dir, self(t))
	if err != nil {
		t.Fatal(err)
	}
	layers := filepath.Dir(own)
	boot, numbering := process.BootID(), process.Numbering()
	for _, test := range []struct {
		name  string
		stays bool
	}{
		{fmt.Sprintf("%s.%d.%d.%d", boot, numbering, 1<<22+1, 5), false},
		{fmt.Sprintf("%s.%d.%d.%d", boot, numbering, os.Getpid(), 5), false}, // another process had the pid
		{fmt.Sprintf("%s.%d.%d.%d", "another-boot", numbering, os.Getpid(), self(t).Start), false},
		{gonePrefix + fmt.Sprintf("%s.%d.%d.%d", boot, numbering, 1<<22+5, 5), false},
		{gonePrefix + fmt.Sprintf("%s.%d.%d.%d", boot, numbering, os.Getpid(), self(t).Start), true},
		{"a.b.c.d", true},
		{"x", true},
		{gonePrefix + "x", true},
	} {
		path := filepath.Join(layers, test.name)
		closed := filepath.Join(path, inplace.WorkDir, "work")
		if err := os.MkdirAll(filepath.Join(closed, "in", "it"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(closed, 0); err != nil {
			t.Fatal(err)
		}
		sweep(layers)
		_, err := os.Lstat(path)
		if stays := err == nil; stays != test.stays {
			t.Errorf("%s stays: %v, want %v", test.name, stays, test.stays)
		}
		if test.stays {
			if err := errors.Join(os.Chmod(closed, 0o700), os.RemoveAll(path)); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := os.Lstat(filepath.Join(own, inplace.UpperDir)); err != nil {
		t.Error("the layer of a process that runs: ", err)
	}
	Remove(own)
	if _, err := os.Lstat(own); err != nil {
		t.Error("removed while its process runs: ", err)
	}
	Discard(own)
	if _, err := os.Lstat(own); !errors.Is(err, os.ErrNotExist) {
		t.Error("it was to be discarded: ", err)
	}
}

// Nothing but a layer is removed, whatever a record says.
func TestDiscardElsewhere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	Discard(dir)
	Remove(dir)
	if _, err := os.Lstat(dir); err != nil {
		t.Error(err)
	}
}

// A directory that others could have made, or can write to, is refused.
func TestUnsafe(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"a link":   func(dir string) error { return os.Symlink("/tmp", dir) },
		"a file":   func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"writable": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o770)) },
		"layers are a link": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Symlink("/tmp", filepath.Join(dir, layersDir)))
		},
		"layers for all": func(dir string) error { return errors.Join(os.MkdirAll(filepath.Join(dir, layersDir), 0o755)) },
		"below a file":   func(string) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "scratch")
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			if name == "below a file" {
				dir = "/etc/passwd/x"
			}
			if path, err := Make(dir, self(t)); !errors.Is(err, ErrUnusable) {
				t.Errorf("made %s, %v", path, err)
			} else if !strings.Contains(err.Error(), dir) {
				t.Error("it does not name the directory: ", err)
			}
		})
	}
}

// A layer is in use while its overlay is in the table of any process.
func TestVisible(t *testing.T) {
	v := visible{names: map[string]bool{}}
	const table = "341 371 0:21 / /proc rw,relatime - proc proc rw\n" +
		"371 241 0:96 / / rw,nosuid,nodev,relatime master:1 - overlay boot.1.2.3 rw,lowerdir=/proc/self/fd/8,userxattr\n" +
		"372 241 0:97 / /a\\040b rw - ext4 boot.4.5.6 rw\nhalf a line - overlay"
	if !v.add(strings.NewReader(table)) || !v.has("boot.1.2.3") || v.has("boot.4.5.6") || v.has("none") {
		t.Errorf("seen: %v", v.names)
	}
	if v.add(strings.NewReader(strings.Repeat("x", 1<<21))) {
		t.Error("a table that cannot be read was read")
	}
}
