package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestCheckRlimits(t *testing.T) {
	var now unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_CORE, nil, &now); err != nil {
		t.Fatal(err)
	}
	limits := func(name string, soft, hard uint64) []specs.POSIXRlimit {
		return []specs.POSIXRlimit{{Type: name, Soft: soft, Hard: hard}}
	}
	if err := checkRlimits(append(limits("RLIMIT_CORE", 0, now.Max), limits("RLIMIT_NONE", 1, 0)...)); err != nil {
		t.Error(err)
	}
	if err := checkRlimits(limits("RLIMIT_CORE", 2, 1)); err == nil || err.Error() != "set rlimit RLIMIT_CORE to 2, hard 1: the soft limit is above the hard one" {
		t.Error(err)
	}
	err := checkRlimits(limits("RLIMIT_NOFILE", 1, unix.RLIM_INFINITY))
	if !errors.Is(err, unix.EPERM) || !strings.HasPrefix(err.Error(), "set rlimit RLIMIT_NOFILE to 1, hard unlimited: the kernel's sysctl fs.nr_open is ") {
		t.Error(err)
	}
	// The kernel decides the same. No other test needs core dumps.
	if err := unix.Prlimit(0, unix.RLIMIT_CORE, new(unix.Rlimit), nil); err != nil {
		t.Fatal(err)
	}
	err = checkRlimits(limits("RLIMIT_CORE", 1, 2))
	kernel := unix.Prlimit(0, unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 2}, nil)
	if (err != nil) != (kernel != nil) {
		t.Errorf("%v, but the kernel says %v", err, kernel)
	}
}

func TestCheckPidFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		"": nil, filepath.Join(dir, "pid"): nil, "pid": nil,
		filepath.Join(dir, "no", "pid"): unix.ENOENT, filepath.Join(dir, "directory"): unix.EISDIR,
	} {
		if err := checkPidFile(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}
