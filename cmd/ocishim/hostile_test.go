package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Helpers for attacks by a hostile image, or by a process in a container. docs/security.md lists
// the attacks.

// copyImage makes a separate root filesystem for the test. Its files are no hard links to the shared
// ones: a link changes a file's ctime, and tar fails if another test makes an image meanwhile.
func copyImage(t *testing.T) string {
	t.Helper()
	rootfs := filepath.Join(t.TempDir(), "rootfs")
	out, err := exec.Command("cp", "-a", filepath.Join(shared.bundle(), "rootfs"), rootfs).CombinedOutput()
	if err != nil {
		t.Fatalf("copy image: %v: %s", err, out)
	}
	return rootfs
}

// replaceByLink replaces the path in the image by a symbolic link.
func replaceByLink(t *testing.T, path, target string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(path), os.Symlink(target, path)); err != nil {
		t.Fatal(err)
	}
}

// A container is a container to be launched, in a state root of its own.
type container struct {
	t         *testing.T
	id, state string
	dir       string
	program   string // of ocishim
	config    string // of the site; empty for none
	spec      *specs.Spec
}

// newContainer returns one with the image, and with the shell script as its command.
func newContainer(t *testing.T, rootfs, script string) *container {
	t.Helper()
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, id: uniqueID(), state: filepath.Join(t.TempDir(), "state"), dir: t.TempDir(), program: shared.program(), spec: spec}
	spec.Root.Path = rootfs
	spec.Process.Args = []string{"bash", "-c", script}
	mark := "TEST_OF_STATE=" + c.state
	spec.Process.Env = append(spec.Process.Env, mark)
	t.Cleanup(func() {
		_ = ocishim("--root", c.state, "delete", "--force", c.id).Run()
		checkNothingLeft(t, c.state, mark)
	})
	return c
}

// ofStep makes it a task of a Slurm step, launched by libcontainer.
func (c *container) ofStep() *container {
	c.t.Helper()
	c.spec.Annotations = map[string]string{"org.ocishim.profile": "oci"}
	c.id = "n1." + currentUser(c.t) + "." + strings.TrimPrefix(c.id, "test-") + ".0.0"
	c.spec.Process.Env = append(c.spec.Process.Env, "SLURM_JOB_ID=1")
	return c
}

// ofStepInPlace makes it a task that is launched in place, without files of the host that a test
// could mistake for a leak. Root has no such container.
func (c *container) ofStepInPlace() *container {
	c.t.Helper()
	c.ofStep()
	if os.Getuid() == 0 {
		return c
	}
	c.spec.Annotations = map[string]string{"org.ocishim.profile": "hpc"}
	c.config = filepath.Join(c.t.TempDir(), "config.toml")
	if err := os.WriteFile(c.config, []byte("[hpc]\nhome = false\nworkdir = false\ntmp = false\netc = []\n"), 0o644); err != nil {
		c.t.Fatal(err)
	}
	return c
}

// bind adds a mount of the source at the destination.
func (c *container) bind(source, destination string, options ...string) *container {
	m := specs.Mount{Destination: destination, Type: "bind", Source: source, Options: append([]string{"rbind"}, options...)}
	c.spec.Mounts = append(c.spec.Mounts, m)
	return c
}

// withoutMount removes the mounts at and below the destination, so that the image's own files are
// seen.
func (c *container) withoutMount(destination string) *container {
	var mounts []specs.Mount
	for _, m := range c.spec.Mounts {
		if m.Destination != destination && !strings.HasPrefix(m.Destination, destination+"/") {
			mounts = append(mounts, m)
		}
	}
	c.spec.Mounts = mounts
	return c
}

// command returns a call of the verb for the container, with a time limit.
func (c *container) command(verb string, arguments ...string) *exec.Cmd {
	c.t.Helper()
	args := []string{"--kill-after=1", pace.Seconds(30 * time.Second), c.program, "--root", c.state}
	if c.config != "" {
		args = append(args, "--config", c.config)
	}
	args = append(args, verb)
	if verb == "run" || verb == "create" || verb == "restore" {
		if err := writeSpec(c.dir, c.spec); err != nil {
			c.t.Fatal(err)
		}
		args = append(args, "--bundle", c.dir)
	}
	return exec.Command("timeout", append(args, arguments...)...)
}

// run runs the container to its end.
func (c *container) run() (output string, err error) {
	c.t.Helper()
	out, err := c.command("run", c.id).CombinedOutput()
	if strings.Contains(c.id, ".") {
		_ = c.command("delete", "--force", c.id).Run()
	}
	return string(out), err
}

// start creates the container and starts it, in the background.
func (c *container) start() {
	c.t.Helper()
	for _, cmd := range []*exec.Cmd{c.command("create", c.id), c.command("start", c.id)} {
		if err := cmd.Run(); err != nil { // without output, since the container would hold the pipe
			c.t.Fatalf("%v: %v", cmd.Args, err)
		}
	}
}

// secret is the content of a file of the host, and found nowhere else.
const secret = "secret of the host"

// A canary is a directory of the host, outside every image, that no attack may read or change.
type canary struct {
	t      *testing.T
	dir    string
	before string
}

// newCanary makes a canary with files of these names, each of which contains the secret.
func newCanary(t *testing.T, names ...string) *canary {
	t.Helper()
	c := &canary{t: t, dir: t.TempDir()}
	for _, name := range append(names, "secret") {
		path := filepath.Join(c.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(secret), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	c.before = c.look()
	return c
}

// look lists the directory's files with their content.
func (c *canary) look() string {
	c.t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(c.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, _ := os.ReadFile(path)
		fmt.Fprintf(&list, "%s %v %q\n", path, info.Mode(), content)
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return list.String()
}

// mustBeUntouched fails the test if something has changed, or if the output shows the secret.
func (c *canary) mustBeUntouched(output string) {
	c.t.Helper()
	if after := c.look(); after != c.before {
		c.t.Errorf("the host's files were\n%sand are\n%soutput: %s", c.before, after, output)
		c.before = after
	}
	if strings.Contains(output, secret) {
		c.t.Errorf("a file of the host's was read: %s", output)
	}
}

// keepSwapping keeps exchanging the two paths until the test ends, like a process that shares the
// directory with the container being made.
func keepSwapping(t *testing.T, one, other string) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for {
			if err := unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE); err != nil {
				done <- err
				return
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
				pace.Pause(time.Duration(20+time.Now().UnixNano()%200) * time.Microsecond)
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		if err := <-done; err != nil {
			t.Errorf("exchange %s and %s: %v", one, other, err)
		}
	})
}

// rounds repeats the attack until the time is up, and at least twenty times on a busy machine: half
// of the containers in a race do not start.
func rounds(limit time.Duration, attack func()) int {
	n := 0
	for began := time.Now(); n < 20 || time.Since(began) < limit; n++ {
		attack()
	}
	return n
}
