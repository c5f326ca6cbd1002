package main_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// A writableImage is oci:DIR/layout:1, the tests' root file system, and a configuration for what
// containers change in it.
type writableImage struct{ dir, name, config string }

// newWritableImage makes the image in dir. settings are for the table image of the configuration.
func newWritableImage(t *testing.T, dir, settings string) writableImage {
	t.Helper()
	im := writableImage{dir, "oci:" + filepath.Join(dir, "layout") + ":1", filepath.Join(dir, "site.toml")}
	layout := exec.Command(filepath.Join(filepath.Dir(shared.program()), "layout"), filepath.Join(dir, "layout"), "1",
		filepath.Join(shared.bundle(), "rootfs"), `{"Env":["PATH=/usr/bin:/bin"]}`)
	if out, err := layout.CombinedOutput(); err != nil {
		t.Fatalf("make layout: %v: %s", err, out)
	}
	if err := os.WriteFile(im.config, []byte("[image]\n"+settings), 0o644); err != nil {
		t.Fatal(err)
	}
	return im
}

// run runs a command of the shell in the image, with a store and state below the directory.
func (im writableImage) run(options, script string) *exec.Cmd {
	args := append([]string{"--root", filepath.Join(im.dir, "state"), "--config", im.config, "run-image"}, strings.Fields(options)...)
	cmd := exec.Command(shared.program(), append(args, im.name, "sh", "-c", script)...)
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(im.dir, "home"), "XDG_DATA_HOME="+filepath.Join(im.dir, "data"))
	cmd.Dir = im.dir
	return cmd
}

// Whenever a task is killed, the user's next one leaves nothing of its layer, and the image is as it
// was.
func TestKilledWhileItChangesAnImage(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("users start images by name; the tests run as a user, too")
	}
	dir := t.TempDir()
	scratch := filepath.Join(dir, "scratch")
	im := newWritableImage(t, dir, fmt.Sprintf("scratch = %q\n", scratch))
	if out, err := im.run("", "true").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rounds := 20
	if pace.All() {
		rounds = 200
	}
	for range rounds {
		cmd := im.run("--writable=disk", "rm -r /var; mkdir -m 0 /closed; echo >/x; read line")
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		pace.Pause(rand.N(pace.Of(40 * time.Millisecond)))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = stdin.Close()
	}
	const whole = "test -d /var -a ! -e /x"
	if out, err := im.run("--writable=disk", whole).CombinedOutput(); err != nil {
		t.Errorf("the image is another one: %v: %s", err, out)
	}
	if out, err := im.run("", whole).CombinedOutput(); err != nil {
		t.Errorf("the image is another one: %v: %s", err, out)
	}
	if left := namesIn(filepath.Join(scratch, ".ocishim-layers")); len(left) > 0 {
		t.Errorf("left: %s", strings.Join(left, ", "))
	}
}

// A site's image that is a directory belongs to root. Whoever changes it gets a copy; a site's
// default does not make one.
func TestSitesImageIsCopiedToBeChanged(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can make a site's store")
	}
	dir := sharedTempDir(t)
	site, err := os.MkdirTemp(shared.dir, "site")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(site) })
	im := newWritableImage(t, dir, fmt.Sprintf("stores = [%q]\nwritable = \"tmpfs\"\n", site+"/store"))
	pull := exec.Command(shared.program()+"-image", "--store", site+"/store", "pull", "--format", "tree", im.name)
	if out, err := pull.CombinedOutput(); err != nil {
		t.Fatalf("pull: %v: %s", err, out)
	}
	if out, err := exec.Command("chmod", "-R", "a+rX", site).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	copies := func() int { return len(namesIn(filepath.Join(dir, "data/ocishim/images/images/sha256"))) }
	const change = "echo >>/usr/bin/env && rm -r /var && mkdir /var && echo changed"

	out, err := asUser(im.run("", "touch /x")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "belong to another user") || !strings.Contains(string(out), "Read-only file system") || copies() > 0 {
		t.Errorf("by default: %v, %d copies: %s", err, copies(), out)
	}
	out, err = asUser(im.run("--writable --pull never", "true")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "which a writable image needs, and it is not to be pulled") {
		t.Errorf("without a pull: %v: %s", err, out)
	}
	for _, options := range []string{"--writable", "--writable --pull never", ""} {
		out, err := asUser(im.run(options, change)).CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), "changed\n") || copies() != 1 {
			t.Errorf("%q: %v, %d copies: %s", options, err, copies(), out)
		}
	}
}
