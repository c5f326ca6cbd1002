package main_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Root calls ocishim for a container whose state is a user's, and so becomes that user. What the
// container runs gets nothing from root: no session key, no blocked signal, no variable, no
// descriptor. The profile hpc is refused, as it is for root.
func TestNothingOfRootReachesUser(t *testing.T) {
	needRoot(t)
	t.Parallel()
	dir := sharedTempDir(t)
	state := filepath.Join(dir, "state")
	id := "n1." + userName + "." + strings.TrimPrefix(uniqueID(), "test-") + ".0.0"
	userState(t, state, id, "sleep 600")
	defer func() { _ = ocishim("--root", state, "delete", "--force", id).Run() }()
	script := `cat /proc/keys; env; grep -E "SigBlk|SigIgn|CapInh" /proc/self/status; ls /proc/self/fd`
	if err := asUser(ocishim("--root", state, "start", id)).Run(); err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, filepath.Join(shared.dir, "bundles", strconv.Itoa(int(ordinaryUser().Uid)), "rootfs"), script)
	c.state, c.dir, c.spec.Root.Readonly = state, sharedTempDir(t), true
	c.spec.Process.Env = c.spec.Process.Env[:1]
	for name, args := range map[string][]string{
		"exec": {"exec", id, "bash", "-c", script},
		"run":  {"run", "--profile", "oci", "--bundle", c.dir, c.id},
	} {
		if err := writeSpec(c.dir, c.spec); err != nil {
			t.Fatal(err)
		}
		out := withRootsSurroundings(t, append([]string{"--root", state}, args...)...)
		if !strings.Contains(out, "SigBlk:\t0000000000000000") || !strings.Contains(out, "CapInh:\t0000000000000000") {
			t.Errorf("%s: signals, capabilities: %s", name, out)
		}
		for _, leaked := range []string{"key-of-root", "VARIABLE_OF_ROOT", "\n9\n"} {
			if strings.Contains(out, leaked) {
				t.Errorf("%s: %q of root's is in the container: %s", name, leaked, out)
			}
		}
	}
	out := withRootsSurroundings(t, "--root", state, "run", "--profile", "hpc", "--bundle", c.dir, c.id)
	if !strings.Contains(out, "not for root") {
		t.Errorf("hpc by root, for a user: %s", out)
	}
}

// withRootsSurroundings calls ocishim from a thread with a key, a blocked signal, an open file, and
// a variable.
func withRootsSurroundings(t *testing.T, args ...string) string {
	t.Helper()
	output := make(chan string)
	go func() {
		runtime.LockOSThread() // for good: the thread's changes end with it
		_, err := unix.KeyctlJoinSessionKeyring("session-of-root")
		if err == nil {
			_, err = unix.AddKey("user", "key-of-root", []byte(secret), unix.KEY_SPEC_SESSION_KEYRING)
		}
		if err != nil {
			output <- "make a key: " + err.Error()
			return
		}
		blocked := unix.Sigset_t{}
		blocked.Val[0] = 1 << (unix.SIGUSR2 - 1)
		if err := unix.PthreadSigmask(unix.SIG_BLOCK, &blocked, nil); err != nil {
			output <- err.Error()
			return
		}
		cmd := ocishim(args...)
		cmd.Env = append(os.Environ(), "VARIABLE_OF_ROOT=1", "NOTIFY_SOCKET=/VARIABLE_OF_ROOT")
		for range 7 {
			cmd.ExtraFiles = append(cmd.ExtraFiles, os.Stdin) // 3 to 9
		}
		out, _ := cmd.CombinedOutput()
		output <- string(out)
	}()
	return <-output
}
