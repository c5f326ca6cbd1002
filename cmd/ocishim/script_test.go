package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script. Beside what testscript(1) has, scripts find
//
//	$PROGRAM  the path of ocishim, which is in the $PATH, too
//	$KERNEL   the path of testdata/kernel
//	$STATE  a state root, not yet made, that must be empty again at the end
//	$ID     an id for a container that no other script uses
//	$JOB    the same for the number of a Slurm job
//	$NAME   the name of the user who runs the script, $ID_OF_USER the number
//	$ROOTFS the root filesystem of the bundles that `bundle` makes
//	[root]  the condition that the user is root
//	[overlay] the condition that users can mount an overlay (Linux 5.11)
//	[gcc]   that there is a C compiler
//	[veth]  that this is root, who can make a pair of network devices
//
// and the commands of scriptCommands.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                shared.scripts(),
		Setup:              setUpScript,
		Cmds:               scriptCommands,
		RequireUniqueNames: true,
		Deadline:           time.Now().Add(3 * time.Minute),
		Condition:          scriptCondition,
	})
}

func scriptCondition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	case "overlay":
		return works("unshare", "-Urm", "mount", "-t", "overlay", "-o", "lowerdir=/usr:/etc", "overlay", "/mnt")
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

// works tells whether the machine can do that; on CI it must, so that nothing is left out
// there unnoticed.
func works(name string, args ...string) (bool, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil && os.Getenv("CI") != "" {
		return false, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return err == nil, nil
}

// serial numbers scripts: containers of the same name would share a cgroup
// when root makes them, wherever their state is.
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

// checkNothingLeft fails the test when there is an entry in the state root, or
// a process with the mark in its environment, and removes them.
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

// namesIn lists what the directory holds, nothing when there is none.
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

// wait calls done until it is true, or the time is up.
func wait(limit time.Duration, done func() bool) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if done() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
