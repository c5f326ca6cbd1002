package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// overwriter is the second half of CVE-2019-5736. It runs in a container, waits for a process whose
// executable is /proc/self/exe, and opens that for reading. A running executable cannot be written
// to, so it waits until the process is gone, and then writes through the open descriptor.
const overwriter = `
echo >/loot/ready
until [ -e /loot/opened ]; do
	for p in /proc/[0-9]*; do
		if { IFS= read -r -d '' name <$p/cmdline && [ "$name" = /proc/self/exe ] && exec 7<$p/exe; } 2>/dev/null; then
			echo >/loot/opened
			break
		fi
	done
done
while [ -e $p ]; do sleep 0.01; done
for i in 1 2 3 4 5 6 7 8 9 10; do
	echo overwritten >/proc/self/fd/7 && echo >/loot/written
	sleep 0.02
done
echo >/loot/done
exec sleep 600`

// A process in a container executes what the image has turned into a way to the runtime's own
// executable: a link to it, or a script with it as the interpreter.
func TestOverwriteExecutable(t *testing.T) {
	t.Parallel()
	for _, launcher := range []string{"libcontainer", "in place"} {
		for name, command := range map[string][]string{
			"link":   {"/proc/self/exe", "--help"},
			"script": {"/innocent"},
		} {
			t.Run(launcher+", "+name, func(t *testing.T) {
				t.Parallel()
				if launcher == "in place" && os.Getuid() == 0 {
					t.Skip("root's containers are libcontainer's; it runs again as a user")
				}
				overwriteExecutable(t, launcher == "in place", command)
			})
		}
	}
}

func overwriteExecutable(t *testing.T, inPlace bool, command []string) {
	t.Helper()
	rootfs, loot := copyImage(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(rootfs, "innocent"), []byte("#!/proc/self/exe --help\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// The attacker may write to it, as root could.
	program := filepath.Join(t.TempDir(), "ocishim")
	if err := copyFile(shared.program(), program, 0o755); err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, rootfs, overwriter).bind(loot, "/loot")
	c.program = program
	if inPlace {
		c.ofStepInPlace()
		run := c.command("run", c.id)
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = run.Process.Kill()
			_ = run.Wait()
		})
		awaitFile(t, filepath.Join(loot, "ready"))
	} else {
		c.start()
	}
	executable := runBlocked(t, c, inPlace, command)
	if same := sameFile(t, program, executable); same {
		t.Error("the container has the runtime's own file")
	}
	awaitFile(t, filepath.Join(loot, "done"))
	if _, err := os.Stat(filepath.Join(loot, "written")); err == nil {
		t.Error("the attacker could write")
	}
	before, berr := os.ReadFile(shared.program())
	after, aerr := os.ReadFile(program)
	if berr != nil || aerr != nil || !bytes.Equal(before, after) {
		t.Errorf("the runtime's executable was overwritten: %d bytes were %d: %v %v", len(after), len(before), berr, aerr)
	}
}

// runBlocked executes the command, which prints, in the container, and blocks its output until the
// attacker has opened its executable. It returns what stat(2) says of the executable.
func runBlocked(t *testing.T, c *container, inPlace bool, command []string) os.FileInfo {
	t.Helper()
	loot := c.spec.Mounts[len(c.spec.Mounts)-1].Source
	pidFile := filepath.Join(t.TempDir(), "pid")
	cmd := c.command("exec", append([]string{"--detach", "--pid-file", pidFile, c.id}, command...)...)
	run := cmd.Run
	if inPlace { // the command becomes the process itself
		cmd = c.command("exec", append([]string{"--pid-file", pidFile, c.id}, command...)...)
		run = cmd.Start
	}
	full := fullPipe(t)
	cmd.Stdout, cmd.Stderr = full, full
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if inPlace {
		defer func() { _ = cmd.Wait() }()
		awaitFile(t, pidFile)
	}
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	awaitFile(t, filepath.Join(loot, "opened"))
	executable, err := os.Stat("/proc/" + string(data) + "/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return executable
}

// fullPipe makes a pipe that nobody reads, and fills it.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return w
}

func sameFile(t *testing.T, path string, other os.FileInfo) bool {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(info, other)
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	if !wait(20*time.Second, func() bool { _, err := os.Stat(path); return err == nil }) {
		t.Fatalf("no %s in time", filepath.Base(path))
	}
}

// library builds a library that records, in /loot or in the working directory, which program loaded
// it and the value of LD_PRELOAD.
func library(t *testing.T, path string) {
	t.Helper()
	const source = `
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
	char exe[4096] = "";
	FILE *f = fopen("/loot/loaded", "a");
	if (!f) f = fopen("loaded", "a");
	if (!f || readlink("/proc/self/exe", exe, sizeof exe - 1) < 0) return;
	fprintf(f, "%s\n", exe);
	fclose(f);
}`
	cmd := exec.Command("cc", "-shared", "-fPIC", "-x", "c", "-o", path, "-")
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build library: %v: %s", err, out)
	}
}

// The image preloads a library into every program; it must not be loaded into ocishim, where it
// could open /proc/self/exe from within.
func TestPreloadIntoExecutable(t *testing.T) {
	t.Parallel()
	rootfs, loot := copyImage(t), t.TempDir()
	library(t, filepath.Join(rootfs, "evil.so"))
	if err := os.WriteFile(filepath.Join(rootfs, "etc/ld.so.preload"), []byte("/evil.so\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, rootfs, "exec true").bind(loot, "/loot")
	c.spec.Process.Env = append(c.spec.Process.Env, "LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/")
	loaded := filepath.Join(loot, "loaded")
	if out, err := c.run(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if data, err := os.ReadFile(loaded); err != nil || !strings.Contains(string(data), "/true\n") {
		t.Fatalf("the library is not loaded even by the image's own programs: %q, %v", data, err)
	}
	if err := os.Remove(loaded); err != nil {
		t.Fatal(err)
	}
	c.spec.Process.Args = []string{"/proc/self/exe", "--version"}
	if out, err := c.run(); err != nil || !strings.Contains(out, "ocishim version") {
		t.Fatalf("%v: %s", err, out)
	}
	if data, err := os.ReadFile(loaded); err == nil {
		t.Errorf("the image's library was loaded into %s", data)
	}
}

// A hook is a program of the host, run with all rights of the runtime and, for createContainer, in
// the container's root directory. It must not get the image's environment, which could load a
// library of the image into it (CVE-2025-23266).
func TestHookWithoutImagesEnvironment(t *testing.T) {
	t.Parallel()
	rootfs, outside := copyImage(t), t.TempDir()
	library(t, filepath.Join(rootfs, "evil.so"))
	loaded := filepath.Join(rootfs, "loaded")
	hook := func(name string, env ...string) []specs.Hook {
		script := "cat >/dev/null; env >" + filepath.Join(outside, name) + "; pwd -P >>" + filepath.Join(outside, name)
		return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: env}}
	}
	c := newContainer(t, rootfs, "exec true")
	const preload = "LD_PRELOAD=/proc/self/cwd/evil.so"
	c.spec.Process.Env = append(c.spec.Process.Env, preload)

	// The attack, with a careless author of the hook.
	c.spec.Hooks = &specs.Hooks{CreateContainer: hook("control", preload)}
	out, err := c.run()
	if data, rerr := os.ReadFile(loaded); err != nil || rerr != nil || !strings.Contains(string(data), "/cat\n") {
		t.Fatalf("the library is not loaded even into a hook that asks for it: %q, %v, %v: %s", data, rerr, err, out)
	}
	if err := os.Remove(loaded); err != nil {
		t.Fatal(err)
	}
	c.spec.Hooks = &specs.Hooks{
		Prestart:        hook("prestart"), //nolint:staticcheck // deprecated, but Docker sends it
		CreateRuntime:   hook("createRuntime"),
		CreateContainer: hook("createContainer"),
		Poststart:       hook("poststart"),
		Poststop:        hook("poststop"),
	}
	if out, err := c.run(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"prestart", "createRuntime", "createContainer", "poststart", "poststop"} {
		data, err := os.ReadFile(filepath.Join(outside, name))
		if err != nil || strings.Contains(string(data), "LD_PRELOAD") {
			t.Errorf("%s has the image's environment: %v\n%s", name, err, data)
		}
	}
	if data, err := os.ReadFile(loaded); err == nil && strings.Contains(string(data), "/cat\n") {
		t.Errorf("the image's library was loaded into hooks: %s", data)
	}
}
