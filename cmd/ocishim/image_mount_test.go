package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/pace"
)

// A mountedImage is an image that is one file, in a store of its own, and a bundle that names it.
type mountedImage struct {
	state, store, bundle string
	step                 string // begins the ids of the step's tasks
}

// newMountedImage makes the image of the tests' root file system. Its bundle's command sleeps.
func newMountedImage(t *testing.T) *mountedImage {
	t.Helper()
	if os.Getuid() == 0 {
		t.Skip("users start images by name; the tests run as a user, too")
	}
	if unix.Access("/dev/fuse", unix.R_OK|unix.W_OK) != nil {
		skip(t, "users of this machine cannot open /dev/fuse")
	}
	dir := t.TempDir()
	im := &mountedImage{state: filepath.Join(dir, "state"), store: filepath.Join(dir, "store"), bundle: filepath.Join(dir, "bundle")}
	im.step = "n1." + currentUser(t) + "." + strings.TrimPrefix(uniqueID(), "test-") + ".0."
	layout := exec.Command(filepath.Join(filepath.Dir(shared.program()), "layout"), filepath.Join(dir, "layout"), "1", filepath.Join(shared.bundle(), "rootfs"), `{"Env":["A=b"]}`)
	if out, err := layout.CombinedOutput(); err != nil {
		t.Fatalf("make layout: %v: %s", err, out)
	}
	pull := exec.Command(shared.program()+"-image", "--store", im.store, "pull", "--format", "sqfs", "oci:"+filepath.Join(dir, "layout")+":1")
	digest, err := pull.Output()
	if err != nil {
		t.Fatalf("pull: %v: %s", err, pull.Stderr)
	}
	config := fmt.Sprintf(`{"ociVersion":"1.0.2","root":{"path":"rootfs"},"annotations":{"org.ocishim.image":"oci:%s/layout:1@%s"},`+
		`"process":{"args":["sleep","600"],"cwd":"/","user":{"uid":0,"gid":0},"env":["SLURM_JOB_ID=1","TEST_OF_STATE=%s"]}}`,
		dir, strings.TrimSpace(string(digest)), im.state)
	if err := errors.Join(os.MkdirAll(filepath.Join(im.bundle, "rootfs"), 0o755),
		os.WriteFile(filepath.Join(im.bundle, "config.json"), []byte(config), 0o600),
		os.WriteFile(filepath.Join(dir, "site.toml"), []byte(fmt.Sprintf("[image]\nstore = %q\n", im.store)), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		im.checkNobodyServes(t)
		checkNothingLeft(t, im.state, "TEST_OF_STATE="+im.state)
	})
	return im
}

// task starts a task of the step.
func (im *mountedImage) task(t *testing.T, number int) *exec.Cmd {
	t.Helper()
	cmd := ocishim("--root", im.state, "--config", filepath.Join(filepath.Dir(im.state), "site.toml"), "run", "--profile", "hpc", "-b", im.bundle, im.step+strconv.Itoa(number))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// device waits until the task is its application, and returns the device number of its root.
func (im *mountedImage) device(t *testing.T, task *exec.Cmd) string {
	t.Helper()
	var device string
	proc := "/proc/" + strconv.Itoa(task.Process.Pid)
	if !wait(time.Minute, func() bool {
		mounts, _ := os.ReadFile(proc + "/mountinfo")
		name, _ := os.ReadFile(proc + "/comm")
		for line := range strings.Lines(string(mounts)) {
			if fields := strings.Fields(line); fields[4] == "/" && strings.Contains(line, " fuse.squashfs ") {
				device = fields[2]
				return string(name) == "sleep\n"
			}
		}
		return false
	}) {
		t.Fatalf("a task does not start, or not from the mount")
	}
	return device
}

// servers lists the processes that have the image open.
func (im *mountedImage) servers() []int {
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || !strings.HasPrefix(to, im.store) || !strings.HasSuffix(to, "/root.sqfs") {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.HasPrefix(string(comm), "ocishim-image") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (im *mountedImage) checkNobodyServes(t *testing.T) {
	t.Helper()
	if !wait(10*time.Second, func() bool { return len(im.servers()) == 0 }) {
		t.Errorf("the servers %v are still there", im.servers())
	}
}

// end ends the tasks, as Slurm does with a step, and expects nothing to be left.
func (im *mountedImage) end(t *testing.T, tasks ...*exec.Cmd) {
	t.Helper()
	for _, task := range tasks {
		_ = task.Process.Kill()
		_ = task.Wait()
	}
	im.checkNobodyServes(t)
	if out, err := ocishim("--root", im.state, "delete", "--force", im.step+"-1").CombinedOutput(); err != nil {
		t.Errorf("delete: %v: %s", err, out)
	}
}

// All tasks of a step on a host have one server. It is there as long as one of them, takes no
// notice of signals that warn a job, and is started anew if somebody kills it.
func TestTasksShareMountedImage(t *testing.T) {
	t.Parallel()
	im := newMountedImage(t)
	tasks := make([]*exec.Cmd, 16)
	for i := range tasks {
		tasks[i] = im.task(t, i)
	}
	first := im.device(t, tasks[0])
	for _, task := range tasks {
		if device := im.device(t, task); device != first {
			t.Errorf("a task has the file system %s, another one %s", device, first)
		}
	}
	servers := im.servers()
	if len(servers) != 1 {
		t.Fatalf("there are the servers %v", servers)
	}
	for _, task := range tasks[1:] {
		_ = task.Process.Kill()
	}
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGXCPU} {
		if err := unix.Kill(servers[0], signal); err != nil {
			t.Fatal(err)
		}
	}
	inside := fmt.Sprintf("/proc/%d/root/usr/lib", tasks[0].Process.Pid)
	if names := namesIn(inside); len(names) == 0 {
		t.Error("the last task has lost its files")
	}
	late := im.task(t, 16)
	if device := im.device(t, late); device != first {
		t.Errorf("a late task has the file system %s, the others %s", device, first)
	}
	if err := unix.Kill(servers[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !wait(10*time.Second, func() bool {
		_, err := os.ReadDir(inside + "/no such file")
		return errors.Is(err, unix.ENOTCONN)
	}) {
		t.Error("without its server, the file system does not say so")
	}
	anew := im.task(t, 17)
	if device := im.device(t, anew); device == first {
		t.Errorf("a task after the server's end has the file system %s", device)
	}
	im.end(t, append(tasks, late, anew)...)
}

// Whenever tasks are killed, others of their step start, and no server stays.
func TestTasksOfMountedImageAreKilled(t *testing.T) {
	t.Parallel()
	im := newMountedImage(t)
	for round := range 4 {
		tasks := make([]*exec.Cmd, 8)
		var wg sync.WaitGroup
		for i := range tasks {
			tasks[i] = im.task(t, 8*round+i)
			if i > 0 {
				wg.Go(func() {
					pace.Pause(rand.N(pace.Of(60 * time.Millisecond)))
					_ = tasks[i].Process.Kill()
				})
			}
		}
		wg.Wait()
		im.device(t, tasks[0])
		if n := len(im.servers()); n != 1 {
			t.Errorf("round %d: %d servers", round, n)
		}
		for _, task := range tasks {
			_ = task.Process.Kill()
			_ = task.Wait()
		}
		im.checkNobodyServes(t)
	}
	im.end(t)
	sweepAll(t, im.state)
}
