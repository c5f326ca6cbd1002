package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script. In addition to testscript(1), scripts have
//
//	$PROGRAM  the path of ocishim, which is also in the $PATH
//	$KERNEL   the path of testdata/kernel
//	$STATE  a state root, not yet made, that must be empty again at the end
//	$ID     an id for a container that no other script uses
//	$JOB    the same for the number of a Slurm job
//	$NAME   the name of the user who runs the script, $ID_OF_USER the number
//	$ROOTFS the root filesystem of the bundles that `bundle` makes
//	$LIMIT  seconds within which anything ends here, unless it hangs
//	$QUIET  seconds after which anything that happens at once has happened
//	[root]  the condition that the user is root
//	[overlay] the condition that users can mount an overlay (Linux 5.11)
//	[fuse]  that the user may open /dev/fuse
//	[gcc]   that there is a C compiler
//	[veth]  that this is root, who can make a pair of network devices
//
// and the commands of scriptCommands.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(shared.scripts(), "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	if os.Getuid() == 0 && !pace.All() && !asked("TestScripts") {
		files = slices.DeleteFunc(files, func(file string) bool { return !differsByUser(t, file) })
	}
	runScripts(t, files, setUpScript)
}

// differsByUser reports whether a script expects something else as root. In the short selection
// TestAsUser alone runs the others.
func differsByUser(t *testing.T, file string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), "[root]") || strings.Contains(string(text), "[!root]")
}

// runScripts runs each file as a separate test: testscript has one deadline for all, which would
// run while a script waits for its turn.
func runScripts(t *testing.T, files []string, setUp func(*testscript.Env) error) {
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			testscript.RunT(scriptTest{t}, testscript.Params{
				Files:              []string{file},
				Setup:              setUp,
				Cmds:               scriptCommands,
				Condition:          scriptCondition,
				RequireUniqueNames: true,
				Deadline:           pace.Deadline(2 * time.Minute),
			})
		})
	}
}

// A scriptTest is a test of a single script.
type scriptTest struct{ *testing.T }

// Run runs the only script as the test itself.
func (s scriptTest) Run(_ string, script func(testscript.T)) { script(s) }

// Parallel does nothing: the test has already called it.
func (s scriptTest) Parallel() {}

// Verbose answers testscript.
func (s scriptTest) Verbose() bool { return testing.Verbose() }

func scriptCondition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	case "overlay":
		return works("unshare", "-Urm", "mount", "-t", "overlay", "-o", "lowerdir=/usr:/etc", "overlay", "/mnt")
	case "fuse":
		return works("test", "-r", "/dev/fuse", "-a", "-w", "/dev/fuse")
	case "gcc":
		return works("gcc", "--version")
	case "veth":
		if os.Getuid() != 0 {
			return false, nil
		}
		return works("unshare", "--net", "ip", "link", "add", "a0", "type", "veth", "peer", "name", "b0")
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// works reports whether the machine can run the command. On CI it must succeed, so that no test is
// silently skipped there.
func works(name string, args ...string) (bool, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil && os.Getenv("CI") != "" {
		return false, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return err == nil, nil
}

// serial numbers the scripts: containers of the same name would share a cgroup when root makes
// them, wherever their state is.
var serial atomic.Int32

func setUpScript(env *testscript.Env) error {
	u, err := user.Current()
	if err != nil {
		return err
	}
	n := int(serial.Add(1)) + 1000*os.Getpid()
	state, runtimeDir := filepath.Join(env.WorkDir, "state"), filepath.Join(env.WorkDir, "xdg")
	if err := os.Mkdir(runtimeDir, 0o700); err != nil {
		return err
	}
	env.Setenv("PATH", filepath.Dir(shared.program())+":"+os.Getenv("PATH"))
	env.Setenv("STATE", state)
	env.Setenv("PROGRAM", shared.program())
	env.Setenv("KERNEL", shared.kernel())
	env.Setenv("XDG_RUNTIME_DIR", runtimeDir)
	env.Setenv("ROOTFS", filepath.Join(shared.bundle(), "rootfs"))
	env.Setenv("ID", "test-"+strconv.Itoa(n))
	env.Setenv("JOB", strconv.Itoa(n))
	env.Setenv("LIMIT", pace.Seconds(10*time.Second))
	env.Setenv("QUIET", pace.Seconds(300*time.Millisecond))
	env.Setenv("NAME", u.Username)
	env.Setenv("ID_OF_USER", u.Uid)
	mark := "TEST_OF_STATE=" + state
	env.Setenv("TEST_OF_STATE", state)
	t := env.T().(testing.TB)
	env.Defer(func() {
		checkNothingLeft(t, state, mark)
		checkNothingLeft(t, filepath.Join(runtimeDir, "ocishim"), mark)
	})
	return nil
}

// checkNothingLeft fails the test if the state root has an entry, or a process has the mark in its
// environment, and removes them.
func checkNothingLeft(t testing.TB, state, mark string) {
	t.Helper()
	var left []string
	wait(5*time.Second, func() bool {
		left = append(namesIn(state), processesWith(mark)...)
		return len(left) == 0
	})
	if len(left) > 0 {
		t.Errorf("left at the end: %s", strings.Join(left, ", "))
	}
	for _, name := range namesIn(state) {
		_, _ = ocishim("--root", state, "delete", "--force", name).CombinedOutput()
	}
}

// namesIn lists what the directory contains, nothing if it does not exist.
func namesIn(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// processesWith lists the processes that have the entry in their environment.
func processesWith(entry string) []string {
	var found []string
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains("\x00"+string(data), "\x00"+entry+"\x00") {
			continue
		}
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		found = append(found, fmt.Sprintf("process %s %q", filepath.Base(filepath.Dir(path)), command))
	}
	return found
}

// wait calls done until it returns true, or until the limit is over, scaled to this machine.
func wait(limit time.Duration, done func() bool) bool { return pace.Until(limit, done) }
