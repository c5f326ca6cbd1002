package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Slurm's cleanup runs as root on the state of a user, who can write anything there. Root's kill
// and delete must do no more than the user could. Here the attack is a record that names a process
// of root.

// A victim is a process of root.
type victim struct {
	cmd   *exec.Cmd
	start string // its start time, as a record holds it
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(data), ") ")
	return &victim{cmd: cmd, start: strings.Fields(fields)[19]}
}

// process returns the victim in the form of a record.
func (v *victim) process(t *testing.T) map[string]any {
	t.Helper()
	start, err := strconv.ParseUint(v.start, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"pid": v.cmd.Process.Pid, "start": start}
}

// cgroups returns the directories of the cgroups that the victim is in.
func (v *victim) cgroups(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", v.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{}
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		dirs[fields[1]] = filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(fields[1], "name="), fields[2])
	}
	return dirs
}

func (v *victim) mustLive(t *testing.T, after string) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", v.cmd.Process.Pid))
	if err != nil || strings.Contains(string(data), ") Z ") || strings.Contains(string(data), ") T ") {
		t.Fatalf("%s reached a process of root: %s %v", after, data, err)
	}
}

// userState makes a state root for the ordinary user, with a container in it.
func userState(t *testing.T, state, id, command string) {
	t.Helper()
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	spec.Root.Path = filepath.Join(shared.dir, "bundles", strconv.Itoa(int(ordinaryUser().Uid)), "rootfs")
	spec.Process.Args = []string{"sh", "-c", command}
	spec.Process.Env = append(spec.Process.Env, "SLURM_JOB_ID=1", "TEST_OF_STATE="+state)
	dir := sharedTempDir(t)
	if err := writeSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(dir, "pid")
	cmd := asUser(ocishim("--root", state, "create", "-b", dir, "--pid-file", pidFile, id))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("create: %v: %s", err, out)
	}
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	// The forged record no longer leads to it.
	t.Cleanup(func() { _ = asUser(exec.Command("kill", "-KILL", strconv.Itoa(pid))).Run() })
}

func asUser(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: ordinaryUser()}
	return cmd
}

// sharedTempDir makes a directory that the ordinary user can reach and write to.
func sharedTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared.dir, "attack")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	u := ordinaryUser()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, int(u.Uid), int(u.Gid))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// forge edits the user's JSON file.
func forge(t *testing.T, path string, changes map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	object := map[string]any{}
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	for key, value := range changes {
		object[key] = value
	}
	if data, err = json.Marshal(object); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can be attacked so")
	}
}

// cleanup makes the calls of Slurm, or of a careless administrator, as root.
func cleanup(t *testing.T, v *victim, root, id string) {
	t.Helper()
	ids := []string{id}
	if step, ok := strings.CutSuffix(id, ".0"); ok {
		ids = append(ids, step+".-1")
	}
	for _, id := range ids {
		for _, call := range []string{"state", "kill", "kill --all", "delete", "delete --force"} {
			args := append([]string{pace.Seconds(30 * time.Second), shared.program(), "--root", root}, strings.Fields(call)...)
			args = append(args, id)
			if strings.HasPrefix(call, "kill") {
				args = append(args, "KILL")
			}
			out, _ := exec.Command("timeout", args...).CombinedOutput()
			v.mustLive(t, strings.Join(args, " "))
			if strings.Contains(string(out), "panic") {
				t.Errorf("%v: %s", args, out)
			}
		}
	}
}

func TestForgedRecord(t *testing.T) {
	needRoot(t)
	t.Parallel()
	id := "n1." + userName + "." + strings.TrimPrefix(uniqueID(), "test-") + ".0.0"
	for name, changes := range map[string]func(v *victim) map[string]any{
		"init": func(v *victim) map[string]any { return map[string]any{"init": v.process(t)} },
		"init of an engine's": func(v *victim) map[string]any {
			return map[string]any{"init": v.process(t), "lifetime": "", "signals": "", "cgroup": "", "step": false, "supervised": false}
		},
		"launcher": func(v *victim) map[string]any {
			return map[string]any{"launcher": v.process(t), "init": map[string]any{"pid": 0, "start": 0}}
		},
		"cgroups": func(v *victim) map[string]any {
			return map[string]any{"cgroups": v.cgroups(t), "init": map[string]any{"pid": 0, "start": 0}}
		},
		"libcontainer": func(*victim) map[string]any {
			return map[string]any{"init": map[string]any{"pid": 0, "start": 0}, "launcher": map[string]any{"pid": 0, "start": 0}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			state := filepath.Join(sharedTempDir(t), "state")
			userState(t, state, id, "sleep 600")
			v := newVictim(t)
			forge(t, filepath.Join(state, id, "record.json"), changes(v))
			forge(t, filepath.Join(state, id, "libcontainer", id, "state.json"), map[string]any{
				"init_process_pid": v.cmd.Process.Pid, "init_process_start": v.process(t)["start"],
			})
			cleanup(t, v, state, id)
		})
	}
}

// The user holds the lock of an entry, so that delete --force ends its launcher.
func TestForgedLauncherWithLock(t *testing.T) {
	needRoot(t)
	t.Parallel()
	id := "n1." + userName + "." + strings.TrimPrefix(uniqueID(), "test-") + ".0.0"
	state := filepath.Join(sharedTempDir(t), "state")
	userState(t, state, id, "sleep 600")
	v := newVictim(t)
	forge(t, filepath.Join(state, id, "record.json"), map[string]any{"launcher": v.process(t)})
	holder := asUser(exec.Command("flock", filepath.Join(state, id), "sleep", "60"))
	holder.SysProcAttr.Setpgid = true
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-holder.Process.Pid, syscall.SIGKILL)
		_ = holder.Wait()
	}()
	_ = exec.Command("timeout", pace.Seconds(30*time.Second), shared.program(), "--root", state, "delete", "--force", id).Run()
	v.mustLive(t, "delete --force of a locked entry")
}

// The user's state root, or a directory on the way to it, is a link to root's.
func TestLinkToRootsState(t *testing.T) {
	needRoot(t)
	t.Parallel()
	id := uniqueID()
	top := sharedTempDir(t)
	own := filepath.Join(top, "own")
	if err := os.Chown(top, 0, 0); err != nil {
		t.Fatal(err)
	}
	create := ocishim("--root", own, "create", "-b", bundleOf(t, "A=", "TEST_OF_STATE="+own, "sleep", "600"), id)
	create.Stdin, create.Stdout, create.Stderr = nil, nil, nil
	if err := create.Run(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if out, err := ocishim("--root", own, "delete", "--force", id).CombinedOutput(); err != nil {
			t.Errorf("delete: %v: %s", err, out)
		}
	}()
	theirs := sharedTempDir(t)
	for link, to := range map[string]string{"root": own, "dir": top} {
		if err := asUser(exec.Command("ln", "-s", to, filepath.Join(theirs, link))).Run(); err != nil {
			t.Fatal(err)
		}
	}
	for _, root := range []string{"root", "root/", "root/.", "dir/own", "./root/../../" + filepath.Base(theirs) + "/dir/own"} {
		for _, call := range []string{"kill ID KILL", "kill --all ID KILL", "delete --force ID", "delete ID", "start ID"} {
			args := append([]string{"--root", theirs + "/" + root}, strings.Fields(strings.ReplaceAll(call, "ID", id))...)
			out, _ := ocishim(args...).CombinedOutput()
			state, err := ocishim("--root", own, "state", id).Output()
			if err != nil || !strings.Contains(string(state), `"created"`) {
				t.Fatalf("%v reached a container of root: %s; its state is %s", args, out, state)
			}
		}
	}
}

// Root does not run a user's hook: it would have root's surroundings, even if it ran as the user.
func TestHooksOfUsersState(t *testing.T) {
	needRoot(t)
	t.Parallel()
	for caller, want := range map[string]bool{"root": false, "the user": true} {
		spec, err := exampleSpec()
		if err != nil {
			t.Fatal(err)
		}
		dir, id := sharedTempDir(t), uniqueID()
		ran := filepath.Join(dir, "ran")
		spec.Root.Path = filepath.Join(shared.dir, "bundles", strconv.Itoa(int(ordinaryUser().Uid)), "rootfs")
		spec.Process.Args = []string{"sleep", "600"}
		spec.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "echo >" + ran}}}}
		if err := writeSpec(dir, spec); err != nil {
			t.Fatal(err)
		}
		state := filepath.Join(dir, "state")
		if err := asUser(ocishim("--root", state, "create", "-b", dir, id)).Run(); err != nil {
			t.Fatal(err)
		}
		deletion := ocishim("--root", state, "delete", "--force", id)
		if caller == "the user" {
			deletion = asUser(deletion)
		}
		if out, err := deletion.CombinedOutput(); err != nil {
			t.Errorf("delete by %s: %v: %s", caller, err, out)
		}
		if _, err := os.Stat(ran); (err == nil) != want {
			t.Errorf("the hook ran when %s deleted the container: %v, want %v", caller, err == nil, want)
		}
	}
}
