package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A link of the image leads a mount to a directory whose name criu parses as the end of one mount
// and the source of another (CVE-2026-119101 of runc). restore must not give the container a
// directory of the host that its config.json does not name.
func TestRestoreThroughLinks(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("criu is for root only")
	}
	if _, err := exec.LookPath("criu"); err != nil {
		skip(t, "no criu here")
	}
	host := newCanary(t, "there")
	rootfs := copyImage(t)
	name := "x]:" + strings.ReplaceAll(host.dir, "/", "+")
	if err := errors.Join(os.Mkdir(filepath.Join(rootfs, name), 0o755), os.Symlink(name, filepath.Join(rootfs, "data"))); err != nil {
		t.Fatal(err)
	}
	images := t.TempDir()
	for name, content := range map[string]string{"descriptors.json": "[]", "inventory.img": ""} {
		if err := os.WriteFile(filepath.Join(images, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := newContainer(t, rootfs, "exec sleep 600").bind(t.TempDir(), "/data")
	out, err := c.command("restore", "--detach", "--image-path", images, c.id).CombinedOutput()
	host.mustBeUntouched(string(out))
	if err == nil || !strings.Contains(string(out), "invalid external mount destination") {
		t.Errorf("restore of a container whose mount is led to %q: %v: %s", name, err, out)
	}
}
