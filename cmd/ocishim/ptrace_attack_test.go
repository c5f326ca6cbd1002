package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// A process that is about to enter a container, as its first or as a further one, at first has all
// capabilities of its user namespace, in Go's threads until the last moment. The tasks of a step
// share that namespace, and none of them may get at it. An image's PATH can make the last moment
// long.
func TestGetAtLaunch(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root's containers have no user namespace; the tests run as a user as well")
	}
	rootfs := copyImage(t)
	if err := copyFile(shared.intruder(), filepath.Join(rootfs, "bin", "intruder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		intruder *container
		launch   func(t *testing.T, intruder *container, i int)
	}{
		{"the step's next task", intruderIn(t, rootfs, (*container).ofStepInPlace), func(t *testing.T, in *container, i int) {
			longPath(newContainer(t, rootfs, "true").ofStepInPlace()).in(in.state).runAs(strings.TrimSuffix(in.id, "0") + strconv.Itoa(i+1))
		}},
		{"exec in place", intruderIn(t, rootfs, (*container).ofStepInPlace), execTrue},
		{"exec by libcontainer", intruderIn(t, rootfs, (*container).ofStep), execTrue},
		{"run by libcontainer", intruderIn(t, rootfs, (*container).ofStepInPlace), func(t *testing.T, _ *container, _ int) {
			longPath(newContainer(t, rootfs, "true").ofStep()).runAs("")
		}},
		{"create", intruderIn(t, rootfs, (*container).ofStepInPlace), func(t *testing.T, _ *container, _ int) {
			longPath(newContainer(t, rootfs, "true")).start()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			end := c.intruder.begin(t)
			for i := range 12 {
				c.launch(t, c.intruder, i)
			}
			if out := end(); strings.Contains(out, "got at") || !strings.Contains(out, "begins") {
				t.Errorf("a process of another container got at the launch:\n%s", out)
			}
		})
	}
}

// intruderIn returns a container of the kind, with the intruder in it.
func intruderIn(t *testing.T, rootfs string, kind func(*container) *container) *container {
	t.Helper()
	dir := t.TempDir()
	return kind(newContainer(t, rootfs, "exec intruder /stop/now")).bind(dir, "/stop")
}

// longPath slows down the search for the command, the last step before it is executed.
func longPath(c *container) *container {
	c.spec.Process.Env = slices.DeleteFunc(c.spec.Process.Env, func(entry string) bool { return strings.HasPrefix(entry, "PATH=") })
	c.spec.Process.Env = append(c.spec.Process.Env, "PATH="+strings.Repeat("/none:", 8000)+"/bin:/usr/bin")
	return c
}

// in puts the container's state into that of other containers.
func (c *container) in(state string) *container {
	c.state = state
	return c
}

// runAs runs the container to its end, under another id if one is given.
func (c *container) runAs(id string) {
	c.t.Helper()
	if id != "" {
		c.id = id
	}
	if out, err := c.run(); err != nil {
		c.t.Errorf("run %s: %v: %s", c.id, err, out)
	}
}

func execTrue(t *testing.T, in *container, _ int) {
	t.Helper()
	cmd := in.command("exec", "--env", "PATH="+strings.Repeat("/none:", 8000)+"/bin:/usr/bin", in.id, "true")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("exec: %v: %s", err, out)
	}
}

// begin starts the intruder. end stops it, and returns its output.
func (c *container) begin(t *testing.T) (end func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := c.command("run", c.id)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := func() string {
		data, _ := os.ReadFile(path)
		return string(data)
	}
	if !pace.Until(10*time.Second, func() bool { return text() != "" }) {
		t.Error("the intruder does not begin")
	}
	return func() string {
		stop := c.spec.Mounts[len(c.spec.Mounts)-1].Source
		if err := os.WriteFile(filepath.Join(stop, "now"), nil, 0o644); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		_ = c.command("delete", "--force", c.id).Run()
		return text()
	}
}
