package gpu

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Results are kept, and dropped when anything they depend on may have changed.
func TestRecall(t *testing.T) {
	n := eight(t)
	r := ask(t, n, "SLURM_STEP_GPUS=0")
	r.CacheDir = filepath.Join(t.TempDir(), "made when need be")
	before := mustGive(t, r)
	entries, err := os.ReadDir(r.CacheDir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("kept %v, %v", entries, err)
	}
	// A half-written file of a killed process goes with the next change.
	half := filepath.Join(r.CacheDir, ".ocishim-new-1")
	hour := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(half, nil, 0o600), os.Chtimes(half, hour, hour), os.Remove(r.CacheDir+"/nvidia-gpus")); err != nil {
		t.Fatal(err)
	}
	mustGive(t, r)
	if _, err := os.Stat(half); err == nil {
		t.Error("what was left half written stays")
	}
	// The files are gone, but their directory is unchanged: the kept result is used.
	dir := n.Path("/usr/lib/x86_64-linux-gnu")
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	n.Remove("/usr/lib/x86_64-linux-gnu/libnvidia-nvvm.so." + version)
	if err := os.Chtimes(dir, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if again := mustGive(t, r); !slices.Equal(names(again.mounts), names(before.mounts)) {
		t.Error("what was kept is not used")
	}
	// Now the change is seen.
	if err := os.Chtimes(dir, info.ModTime(), info.ModTime().Add(1)); err != nil {
		t.Fatal(err)
	}
	if again := mustGive(t, r); len(again.mounts) != len(before.mounts)-1 {
		t.Error("a change of the directory is not noticed")
	}
	for _, change := range []func(path string) error{
		func(path string) error { return os.WriteFile(path, []byte("another key\n{}"), 0o600) },
		func(path string) error { return os.WriteFile(path, []byte("garbage"), 0o600) },
		func(path string) error { return spoil(path, func(text string) string { return text[:len(text)-20] }) },
		func(path string) error {
			return spoil(path, func(text string) string { return strings.Replace(text, "\nlibrary\t", "\nlibrary\tx\t", 1) })
		},
		func(path string) error {
			return spoil(path, func(text string) string { return strings.Replace(text, "\nchanged\t", "\n\n", 1) })
		},
		func(path string) error { return os.Chmod(path, 0o666) },
		func(path string) error {
			if err := os.Rename(path, path+".real"); err != nil {
				return err
			}
			return os.Symlink(path+".real", path)
		},
		func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return unix.Mkfifo(path, 0o600)
		},
	} {
		if err := change(r.CacheDir + "/nvidia-driver"); err != nil {
			t.Fatal(err)
		}
		if again := mustGive(t, r); len(again.mounts) != len(before.mounts)-1 {
			t.Error("a spoiled cache is used")
		}
		_ = os.Remove(r.CacheDir + "/nvidia-driver")
		mustGive(t, r)
	}
}

// spoil changes what is kept, but not its key.
func spoil(path string, change func(string) string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(change(string(data))), 0o600)
}

// The list of GPUs is also dropped if its kept form is damaged.
func TestRecallGPUs(t *testing.T) {
	n := eight(t)
	r := ask(t, n, "SLURM_STEP_GPUS=0")
	r.CacheDir = t.TempDir()
	before := mustGive(t, r)
	for _, change := range []func(string) string{
		func(text string) string { return strings.Replace(text, "\t4\n", "\tx\n", 1) },
		func(text string) string { return strings.Replace(text, "\t4\n", "\n", 1) },
		func(text string) string { return strings.Replace(text, "\t4\n", "\t-4\n", 1) },
	} {
		if err := spoil(r.CacheDir+"/nvidia-gpus", change); err != nil {
			t.Fatal(err)
		}
		if again := mustGive(t, r); !slices.Equal(again.devices, before.devices) {
			t.Errorf("a spoiled list of GPUs is used: %v", again.devices)
		}
	}
}
