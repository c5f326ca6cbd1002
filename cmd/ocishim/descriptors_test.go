package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// leaky runs the command like a careless caller: with directories and files of the host open at 3
// to 12, without close-on-exec.
func leaky(t *testing.T, dir string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for range 10 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	return cmd
}

// listDescriptors is a shell script that lists its own descriptors, one per line, with what they
// are. The descriptor used for listing is closed by then.
const listDescriptors = `cd /proc/$$/fd; for f in *; do [ -e $f -o -L $f ] && echo "$f $(readlink $f)"; done; true; `

// numbers returns the first words of the lines that begin with a number.
func numbers(output string) []int {
	var all []int
	for line := range strings.Lines(output) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(word); err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

// descriptorsOf lists the descriptors of a process, with the rights of its owner.
func descriptorsOf(t *testing.T, pid int) string {
	t.Helper()
	var list strings.Builder
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		target, _ := os.Readlink(link)
		fmt.Fprintf(&list, "%s %s\n", filepath.Base(link), target)
	}
	return list.String()
}

func expectDescriptors(t *testing.T, where, output string, want ...int) {
	t.Helper()
	if got := numbers(output); !slices.Equal(got, want) {
		t.Errorf("%s has %v open, want %v:\n%s", where, got, want, output)
	}
}

// pid returns the pid of the container's first process.
func (c *container) pid() int {
	c.t.Helper()
	out, err := c.command("state", c.id).Output()
	if err != nil {
		c.t.Fatal(err)
	}
	object, err := oneObject(string(out))
	if err != nil {
		c.t.Fatal(err)
	}
	pid, err := strconv.Atoi(valueAt(object, "pid"))
	if err != nil {
		c.t.Fatal(err)
	}
	return pid
}

// Whatever the caller has open, the container gets 0 to 2, and those that it is told to keep. This
// holds for the first process and for one that exec adds, seen from inside and from outside.
func TestDescriptors(t *testing.T) {
	t.Parallel()
	for _, preserved := range []int{0, 2} {
		t.Run(fmt.Sprintf("run, %d preserved", preserved), func(t *testing.T) {
			t.Parallel()
			want := []int{0, 1, 2, 3, 4}[:3+preserved]
			keep := fmt.Sprintf("--preserve-fds=%d", preserved)
			host := newCanary(t)
			inside := t.TempDir()
			c := newContainer(t, copyImage(t), "exec >/out/list; "+listDescriptors+"echo >/out/done; exec sleep 600").bind(inside, "/out")
			cmd := leaky(t, host.dir, c.command("run", keep, c.id))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			awaitFile(t, filepath.Join(inside, "done"))
			list, err := os.ReadFile(filepath.Join(inside, "list"))
			if err != nil {
				t.Fatal(err)
			}
			expectDescriptors(t, "the first process", string(list), want...)
			expectDescriptors(t, "the first process, from outside,", descriptorsOf(t, c.pid()), want...)
			checkExec(t, c, host, keep, want)
			_ = c.command("delete", "--force", c.id).Run()
			_ = cmd.Wait()
		})
		t.Run(fmt.Sprintf("create and start, %d preserved", preserved), func(t *testing.T) {
			t.Parallel()
			want := []int{0, 1, 2, 3, 4}[:3+preserved]
			keep := fmt.Sprintf("--preserve-fds=%d", preserved)
			host := newCanary(t)
			c := newContainer(t, copyImage(t), "exec sleep 600")
			for _, cmd := range []*exec.Cmd{c.command("create", keep, c.id), c.command("start", c.id)} {
				if err := leaky(t, host.dir, cmd).Run(); err != nil {
					t.Fatal(err)
				}
			}
			expectSleep(t, c.pid())
			expectDescriptors(t, "the first process, from outside,", descriptorsOf(t, c.pid()), want...)
			checkExec(t, c, host, keep, want)
		})
	}
}

// expectSleep waits until the process is sleep(1), not ocishim any more, and sleeps: its loader has
// then closed its files.
func expectSleep(t *testing.T, pid int) {
	t.Helper()
	if !wait(10*time.Second, func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return strings.Contains(string(stat), " (sleep) S ")
	}) {
		t.Fatal("the application does not begin")
	}
}

func checkExec(t *testing.T, c *container, host *canary, keep string, want []int) {
	t.Helper()
	out, err := leaky(t, host.dir, c.command("exec", keep, c.id, "bash", "-c", listDescriptors)).Output()
	if err != nil {
		t.Errorf("exec: %v", err)
	}
	expectDescriptors(t, "a process added by exec", string(out), want...)
	pidFile := filepath.Join(t.TempDir(), "pid")
	if err := leaky(t, host.dir, c.command("exec", keep, "--detach", "--pid-file", pidFile, c.id, "sleep", "600")).Run(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		t.Fatal(err)
	}
	expectSleep(t, pid)
	expectDescriptors(t, "a detached process, from outside,", descriptorsOf(t, pid), want...)
}

// A Slurm task made by create has a supervisor in the background, and its output in a file. One
// with a terminal has only the terminal.
func TestDescriptorsOfStepAndTerminal(t *testing.T) {
	t.Parallel()
	host := newCanary(t)
	step := newContainer(t, copyImage(t), "exec sleep 600").ofStep()
	for _, cmd := range []*exec.Cmd{step.command("create", step.id), step.command("start", step.id)} {
		if err := leaky(t, host.dir, cmd).Run(); err != nil {
			t.Fatal(err)
		}
	}
	expectSleep(t, step.pid())
	expectDescriptors(t, "a Slurm task", descriptorsOf(t, step.pid()), 0, 1, 2)

	withTerminal := newContainer(t, copyImage(t), listDescriptors)
	withTerminal.spec.Process.Terminal = true
	out, err := leaky(t, host.dir, withTerminal.command("run", withTerminal.id)).Output()
	if err != nil {
		t.Fatal(err)
	}
	// An interactive bash would keep the terminal open at 255; this one is not interactive.
	expectDescriptors(t, "a process with a terminal", string(out), 0, 1, 2)
	if strings.Count(string(out), "/dev/pts/0") != 3 {
		t.Errorf("they are not the container's terminal: %s", out)
	}
}

// CVE-2024-21626: the working directory, or the command, is a descriptor of the caller or of ours,
// named directly or by a link of the image. If it was not closed, it leads out of the container.
func TestLeakedWorkingDirectory(t *testing.T) {
	t.Parallel()
	host := newCanary(t)
	rootfs := copyImage(t)
	script := "cat secret ../secret ../*/secret; ls; ls ../../../../../../../../../../tmp"
	// The attack succeeds if the caller makes the container keep it, so the test can find
	// something.
	c := newContainer(t, rootfs, "cat /proc/self/fd/3/secret")
	out, err := leaky(t, host.dir, c.command("run", "--preserve-fds=1", c.id)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), secret) {
		t.Fatalf("a preserved directory cannot be read: %v: %s", err, out)
	}
	running := newContainer(t, rootfs, "exec sleep 600")
	running.start()
	for fd := 3; fd < 16; fd++ {
		direct := fmt.Sprintf("/proc/self/fd/%d", fd)
		link := fmt.Sprintf("/work%d", fd)
		if err := os.Symlink(direct, filepath.Join(rootfs, link)); err != nil {
			t.Fatal(err)
		}
		for _, cwd := range []string{direct, link, fmt.Sprintf("/proc/1/fd/%d", fd)} {
			out, _ := leaky(t, host.dir, running.command("exec", "--cwd", cwd, running.id, "bash", "-c", script)).CombinedOutput()
			host.mustBeUntouched(string(out))
		}
		if fd%4 == 3 { // a launch takes longer than an exec
			c.spec.Process.Cwd, c.spec.Process.Args = link, []string{"bash", "-c", script}
			out, _ := leaky(t, host.dir, c.command("run", c.id)).CombinedOutput()
			host.mustBeUntouched(string(out))
			c.spec.Process.Cwd, c.spec.Process.Args = "/", []string{direct + "/secret"}
			out, err := leaky(t, host.dir, c.command("run", c.id)).CombinedOutput()
			if statusOf(err) != 127 {
				t.Errorf("the command %s/secret: %v: %s", direct, err, out)
			}
		}
	}
}

// A process that exec adds to a created container sees the first process, which is still ours. The
// descriptors of that process lead nowhere outside, and neither they nor its executable can be
// written to.
func TestCreatedContainerIsClosed(t *testing.T) {
	t.Parallel()
	host := newCanary(t)
	c := newContainer(t, copyImage(t), "exec sleep 600")
	if err := leaky(t, host.dir, c.command("create", c.id)).Run(); err != nil {
		t.Fatal(err)
	}
	script := `for l in /proc/1/exe /proc/1/cwd /proc/1/root /proc/1/fd/[3-9] /proc/1/fd/??*; do
		name="$l, $(readlink $l),"
		cat $l/secret $l/../secret $l/../../secret 2>/dev/null
		[ -f $l ] && { : >>$l; } 2>/dev/null && echo "$name can be written"
		case $l in */fd/*) [ -e $l/etc ] && echo "$name is a root directory" ;; esac
	done; readlink /proc/1/exe`
	out, err := c.command("exec", c.id, "bash", "-c", script).CombinedOutput()
	host.mustBeUntouched(string(out))
	// For root it is on an overlay of its own, if the kernel supports that.
	sealed := []string{"/memfd:runc_cloned:/proc/self/exe (deleted)\n", "/ocishim\n"}
	if err != nil || !slices.Contains(sealed, string(out)) {
		t.Errorf("want the name of our sealed executable alone: %v: %s", err, out)
	}
}

// A container that shares the pid namespace sees our processes, but not their descriptors or
// executable.
func TestSharedPidNamespace(t *testing.T) {
	t.Parallel()
	host := newCanary(t)
	c := newContainer(t, copyImage(t), `read line; p=$PPID
	until [ "$(cat /proc/$p/comm)" = ocishim ]; do p=$(sed 's/.*) . \([0-9]*\) .*/\1/' /proc/$p/stat); [ "$p" -gt 1 ] || exit 1; done
	for l in /proc/$p/fd/* /proc/$p/exe /proc/$p/cwd; do [ -e $l ] && echo "$l can be opened"; readlink $l; done
	kill -0 $p; echo "looked at ocishim"`)
	c.spec.Process.Args = []string{"sh", "-c", c.spec.Process.Args[2]}
	shareNamespace(c.spec, "pid")
	cmd := leaky(t, host.dir, c.command("run", c.id))
	cmd.Stdin = strings.NewReader("\n")
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "looked at ocishim\n" {
		t.Errorf("%v: %s", err, out)
	}
}
