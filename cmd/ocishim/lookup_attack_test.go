package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Programs of the host are looked up in the caller's PATH, and the caller is trusted. Root's
// cleanup for users looks up no program, so a PATH from a user has no effect.
func TestCleanupLooksNothingUp(t *testing.T) {
	needRoot(t)
	t.Parallel()
	dir, step := sharedTempDir(t), "n1."+userName+"."+strings.TrimPrefix(uniqueID(), "test-")
	id, other := step+".0.0", step+".0.1"
	trap, ran := filepath.Join(dir, "bin"), filepath.Join(dir, "ran")
	if err := os.Mkdir(trap, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ps", "criu", "newuidmap", "newgidmap", "getent", "sh", "mount", "umount", "id"} {
		if err := os.WriteFile(filepath.Join(trap, name), []byte("#!/bin/sh\necho $0 >>"+ran+"\nexec /bin/ps \"$@\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	trapped := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.Env = append(os.Environ(), "PATH="+trap)
		return cmd
	}
	state := filepath.Join(dir, "state")
	userState(t, state, id, "sleep 600")
	for _, args := range [][]string{
		{"state", id}, {"list"}, {"kill", id, "KILL"}, {"state", "none"}, {"delete", "--force", id}, {"delete", "--force", "none"},
	} {
		_ = trapped(ocishim(append([]string{"--root", state}, args...)...)).Run() // some of them fail
		if data, err := os.ReadFile(ran); err == nil {
			t.Errorf("%q by root ran %s", args, data)
		}
	}
	if err := ocishim("--root", state, "state", id).Run(); err == nil {
		t.Error("it is not deleted")
	}
	// The trap works: a caller of ps runs the one in their own PATH.
	userState(t, state, other, "sleep 600 & wait")
	if err := trapped(asUser(ocishim("--root", state, "ps", other))).Run(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(ran); err != nil || string(data) != filepath.Join(trap, "ps")+"\n" {
		t.Errorf("ps ran %s, %v", data, err)
	}
}
