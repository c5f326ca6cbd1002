package export

import (
	"errors"
	"os"
	"reflect"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/image"
)

// Users are looked up in the image's files. A missing user is an error, and does not become root.
func TestUser(t *testing.T) {
	files := map[string]string{
		"etc/passwd": "root:x:0:0::/:\nbroken\napp:x:12:34::/:\nbad:x:-1:0::/:\n",
		"etc/group":  "root:x:0:\nstaff:x:50:\n",
	}
	for text, want := range map[string]specs.User{
		"": {}, "app": {UID: 12, GID: 34}, "12": {UID: 12, GID: 34}, "7": {UID: 7}, "app:staff": {UID: 12, GID: 50},
		"7:8": {UID: 7, GID: 8}, "root": {}, "app:": {UID: 12, GID: 34}, ":staff": {GID: 50},
	} {
		if got, err := user(text, func(path string) string { return files[path] }); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"nobody", "bad", "app:none", "-1", "4294967296", "7:-1"} {
		if got, err := user(text, func(path string) string { return files[path] }); !errors.Is(err, errUser) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// The bundle follows the image's configuration, but drops labels that give options to ocishim.
func TestSpec(t *testing.T) {
	s := spec(image.Config{
		Entrypoint: []string{"/e"}, Cmd: []string{"a"}, WorkingDir: "w", Env: []string{"PATH=/p"},
		Labels: map[string]string{"a": "b", "org.ocishim.profile": "oci"},
	}, specs.User{UID: 1})
	if !reflect.DeepEqual(s.Process.Args, []string{"/e", "a"}) || s.Process.Cwd != "/w" || !reflect.DeepEqual(s.Process.Env, []string{"PATH=/p"}) ||
		!reflect.DeepEqual(s.Annotations, map[string]string{"a": "b"}) || s.Process.User.UID != 1 {
		t.Errorf("%+v, %+v", s.Process, s.Annotations)
	}
}

// Reading a file of an image never blocks and never leads out of the image.
func TestRead(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close() //nolint:errcheck // only read
	if err := errors.Join(
		syscall.Mkfifo(root.Name()+"/fifo", 0o600), os.Symlink("/etc/passwd", root.Name()+"/out"),
		root.WriteFile("in", []byte("1"), 0o600), os.Symlink("in", root.Name()+"/link"),
		root.WriteFile("large", make([]byte, 2<<20), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"fifo": "", "out": "", "in": "1", "link": "1", "large": "", "none": ""} {
		if got := read(root, name); got != want {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}
