package serve

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/pace"
)

// The server holds the image and the device, but nothing of the process that started it.
func TestServerHoldsNothing(t *testing.T) {
	k := start(t, makeImage(t, makeTree(t, 0)), 0, "/bin/sh", "-c", "cat MOUNT/soft >/dev/null; echo read; read line")
	if line, err := k.out.ReadString('\n'); line != "read\n" {
		t.Fatalf("%q, %v\n%s", line, err, k.errors)
	}
	proc := filepath.Join("/proc", strconv.Itoa(k.server))
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]int{}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(proc, "fd", fd.Name()))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(filepath.Base(target), ":") // anon_inode:[eventpoll], pipe:[1]
		if !strings.HasPrefix(kind, "cpu.") {                 // Go's runtime reads its limit of processors there
			held[kind]++
		}
	}
	delete(held, "anon_inode") // Go's runtime waits for events with it
	delete(held, "pidfd")      // of the task
	if got := fmt.Sprint(held); got != "map[fuse:1 image.sqfs:1 null:3]" {
		t.Errorf("it holds %s", got)
	}
	if session, err := unix.Getsid(k.server); err != nil || session != k.server {
		t.Errorf("it is in the session of %d: %v", session, err)
	}
	if dir, err := os.Readlink(filepath.Join(proc, "cwd")); err != nil || dir != "/" {
		t.Errorf("it is in %s: %v", dir, err)
	}
}

// When tasks are killed while they read, the server ends.
func TestTaskIsKilled(t *testing.T) {
	tree := readable(t)
	if err := os.WriteFile(filepath.Join(tree, "file"), content(1, 8<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	image := makeImage(t, tree)
	for range 3 {
		k := start(t, image, 0, "/bin/sh", "-c", "echo begun; exec cat MOUNT/file MOUNT/file")
		if line, err := k.out.ReadString('\n'); line != "begun\n" {
			t.Fatalf("%q, %v", line, err)
		}
		// When place, its parent, ends, so does the task.
		if err := k.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if !pace.Until(10*time.Second, func() bool { return !lives(k.server) }) {
			t.Fatal("the server lives on")
		}
	}
}

// When the server is killed, readers get an error and do not hang.
func TestServerIsKilled(t *testing.T) {
	k := start(t, makeImage(t, makeTree(t, 0)), 0, "survivor", "MOUNT")
	if line, err := k.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v\n%s", line, err, k.errors)
	}
	if err := unix.Kill(k.server, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !pace.Until(10*time.Second, func() bool { return !lives(k.server) }) {
		t.Fatal("SIGKILL does not end it")
	}
	if _, err := k.in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	k.finish(t)
}

// Many readers read a file at once.
func TestReaders(t *testing.T) {
	tree := readable(t)
	data := content(1, 3<<20)
	if err := os.WriteFile(filepath.Join(tree, "file"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	k := start(t, makeImage(t, tree, "-b", "1M"), 0, "readers", "MOUNT/file", "64")
	want := strings.Repeat(fmt.Sprintf("%x <nil>\n", sha256.Sum256(data)), 64)
	if got := k.finish(t); got != want {
		t.Errorf("got\n%s", got)
	}
}

// If the launcher ends before it takes its mount, the server ends.
func TestLauncherGoes(t *testing.T) {
	k := start(t, makeImage(t, makeTree(t, 0)), takesNone, "/bin/sh")
	if !pace.Quiet(50*time.Millisecond, func() bool { return lives(k.server) }) {
		t.Error("the server does not wait for its launcher")
	}
	if err := k.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// Each process that connects gets a mount, and the server ends after the last one. Another user
// gets none, even one who can reach the socket.
func TestFurtherClients(t *testing.T) {
	tree := makeTree(t, 100)
	want, err := listTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	k := start(t, makeImage(t, tree), 5, "manifest", "MOUNT")
	if os.Getuid() == 0 {
		conn, err := net.Dial("unixpacket", k.socket)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if len(answer) != 0 || err != nil {
			t.Errorf("another user gets %q, %v", answer, err)
		}
	}
	if _, err := k.in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSuffix(k.finish(t), "\n"); got != want {
		t.Errorf("the trees differ:\n%s", firstDifference(got, want))
	}
}

// beginServer starts a server with the test as its launcher.
func beginServer(t *testing.T, image string) (*exec.Cmd, *os.File) {
	t.Helper()
	file, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "launcher")
	defer theirs.Close()
	t.Cleanup(func() { ours.Close() })
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=server")
	cmd.ExtraFiles = []*os.File{file, theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, ours
}

// The launcher is told if the file is not a valid image.
func TestNoImage(t *testing.T) {
	whole, err := os.ReadFile(makeImage(t, makeTree(t, 0)))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		image []byte
		want  string
	}{
		"empty":     {nil, "open image: read superblock: corrupt squashfs image: it ends too early"},
		"text":      {[]byte(strings.Repeat("no image\x1b[31m", 1000)), "open image: corrupt squashfs image: it does not begin with hsqs"},
		"truncated": {whole[:len(whole)/2], ""},
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(image, test.image, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd, launcher := beginServer(t, image)
			answer, err := io.ReadAll(launcher)
			if err != nil || test.want != "" && string(answer) != test.want || !strings.HasPrefix(string(answer), "open image: ") {
				t.Errorf("%q, %v", answer, err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("it ends with status 0")
			}
		})
	}
}

// Of other processes only those with the ids of the task may read.
func TestWhoMayRead(t *testing.T) {
	if os.Getuid() != 0 {
		lacks(t, "root, who becomes other users")
	}
	image := makeImage(t, makeTree(t, 0))
	user, group := fmt.Sprintf("--reuid=%d", taskUser), fmt.Sprintf("--regid=%d", taskUser)
	for name, test := range map[string]struct {
		as      []string // options of setpriv
		command []string
		may     bool
	}{
		"user":                {[]string{user, group}, nil, true},
		"user in a namespace": {[]string{user, group}, []string{"unshare", "-Ur"}, true},
		"group":               {[]string{user, "--regid=1"}, nil, false},
		"other user":          {[]string{"--reuid=1", group}, nil, false},
		"root":                {nil, nil, false},
		"namespace below":     {nil, []string{"below"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t, image, 0, "/bin/sh", "-c", "echo MOUNT $$; read line; unshare -Ur cat MOUNT/secret/none")
			line, err := k.out.ReadString('\n')
			mount, pid, found := strings.Cut(strings.TrimSpace(line), " ")
			if err != nil || !found {
				t.Fatalf("%q, %v\n%s", line, err, k.errors)
			}
			var out []byte
			if test.command != nil && test.command[0] == "below" {
				_, err = k.in.Write([]byte("\n"))
				out = []byte(k.finish(t))
			} else {
				args := append([]string{"-m", "-t", pid, "setpriv", "--clear-groups"}, test.as...)
				args = append(append(args, test.command...), "cat", filepath.Join(mount, "secret", "none"))
				out, err = exec.Command("nsenter", args...).CombinedOutput()
			}
			if may := err == nil && string(out) == "x"; may != test.may || !may && !strings.Contains(string(out), "Permission denied") {
				t.Errorf("%s, %v", out, err)
			}
		})
	}
}
