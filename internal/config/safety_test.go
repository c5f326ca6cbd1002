package config

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// makeDir makes a directory like Dir with one file in each place.
func makeDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ocishim")
	write(t, filepath.Join(dir, "config.toml"), "")
	write(t, filepath.Join(dir, "conf.d", "a.toml"), "")
	if _, err := Load(Options{Path: dir, Owner: os.Getuid()}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Nothing is read if someone else could have written it.
func TestOthersMayWrite(t *testing.T) {
	for _, name := range []string{".", "config.toml", "conf.d", "conf.d/a.toml"} {
		for _, bit := range []os.FileMode{0o020, 0o002} {
			path := filepath.Join(makeDir(t), name)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, info.Mode()|bit); err != nil {
				t.Fatal(err)
			}
			checkUnsafe(t, strings.TrimSuffix(path, "/"+name), os.Getuid(), "others may write to "+path)
		}
	}
}

func TestForeignOwner(t *testing.T) {
	if os.Getuid() != 0 {
		checkUnsafe(t, makeDir(t), os.Getuid()+1, "belongs to uid")
		return
	}
	for _, name := range []string{".", "config.toml", "conf.d", "conf.d/a.toml"} {
		dir := makeDir(t)
		if err := os.Chown(filepath.Join(dir, name), 1000, 1000); err != nil {
			t.Fatal(err)
		}
		checkUnsafe(t, dir, 0, filepath.Join(dir, name)+" belongs to uid 1000")
		if _, err := Load(Options{Path: dir, Owner: 1000}); err != nil {
			t.Errorf("for the owner of %s: %v", name, err)
		}
	}
}

func checkUnsafe(t *testing.T, path string, owner int, want string) {
	t.Helper()
	_, err := Load(Options{Path: path, Owner: owner})
	if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// A path that exists, but is not a readable file, is an error; nothing hangs.
func TestNoFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(path string) error
		want string
	}{
		"link to nothing": {func(p string) error { return os.Symlink("nothing", p) }, "a broken symbolic link"},
		"link to itself":  {func(p string) error { return os.Symlink(p, p) }, "too many levels"},
		"pipe":            {func(p string) error { return syscall.Mkfifo(p, 0o644) }, "neither a file nor a directory"},
		"directory":       {func(p string) error { return os.Mkdir(p, 0o755) }, "a directory, where a file is expected"},
		"large": {func(p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o644), os.Truncate(p, MaxFileSize+1))
		}, "larger than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"config.toml", "conf.d/b.toml"} {
				dir := makeDir(t)
				path := filepath.Join(dir, file)
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				if err := tt.make(path); err != nil {
					t.Fatal(err)
				}
				_, err := Load(Options{Path: dir, Owner: os.Getuid()})
				if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("%v, want %s", err, tt.want)
				}
			}
		})
	}
}

func TestConfDIsAFile(t *testing.T) {
	dir := makeDir(t)
	if err := os.RemoveAll(filepath.Join(dir, "conf.d")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "conf.d"), "")
	if _, err := Load(Options{Path: dir, Owner: os.Getuid()}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}

// A link of root's to a file of root's is accepted.
func TestLinks(t *testing.T) {
	dir := makeDir(t)
	target := filepath.Join(t.TempDir(), "elsewhere")
	write(t, target, "profile = 'oci'")
	if err := os.Symlink(target, filepath.Join(dir, "conf.d", "b.toml")); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Options{Path: dir, Owner: os.Getuid()})
	if err != nil || c.Profile != ProfileOCI {
		t.Errorf("%+v, %v", c, err)
	}
}

// inNamespace is set in the environment of the test program in a user namespace.
const inNamespace = "OCISHIM_TEST_IN_USER_NAMESPACE"

// In a user namespace of an ordinary user, as rootless engines make it, the host's root
// is not root there; files of the host's root are also accepted.
func TestOwnedByRootOfTheNode(t *testing.T) {
	const ownedByRoot = "/usr" // a safe directory without config.toml
	if os.Getenv(inNamespace) != "" {
		if info, err := os.Stat(ownedByRoot); err != nil || info.Sys().(*syscall.Stat_t).Uid == 0 {
			t.Fatalf("%s belongs to root here: %v", ownedByRoot, err)
		}
		if _, err := Load(Options{Path: ownedByRoot}); err == nil || !strings.Contains(err.Error(), "no config.toml") {
			t.Error(err)
		}
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	id := os.Getuid()
	if id == 0 {
		id = 65534
	}
	cmd := exec.Command(program, "-test.run=^TestOwnedByRootOfTheNode$")
	cmd.Env = []string{inNamespace + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skip("no user namespaces here: ", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
