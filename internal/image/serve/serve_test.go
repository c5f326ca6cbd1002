package serve

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/pace"
)

// A task is a process that reads an image through a server.
type task struct {
	*exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors *bytes.Buffer
	server int
	socket string // for further clients
}

// takesNone is a number of mounts: the launcher does not even take its own.
const takesNone = -1

// readable makes a directory whose files every user may use.
func readable(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// program returns the path of a copy of this program that any user may execute.
func program(t testing.TB) string {
	t.Helper()
	path, err := copied()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// copied copies this program once; TestMain removes it.
var copied = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "serve")
	if err != nil {
		return "", err
	}
	programDir = dir
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tests")
	return path, errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, data, 0o755))
})

var programDir string

// start starts a task: a role of this program, or /bin/sh, with arguments. MOUNT in the arguments
// is replaced by the mount point. further is how many more mounts than one are asked for; the task
// begins after a line, if there are some.
func start(t testing.TB, image string, further int, command ...string) *task {
	t.Helper()
	mount := readable(t)
	for i := range command {
		command[i] = strings.ReplaceAll(command[i], "MOUNT", mount)
	}
	arguments := append([]string{image, mount, strconv.Itoa(further)}, command...)
	role, attributes := "place", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if os.Getuid() == 0 {
		arguments = append([]string{readable(t)}, arguments...)
	} else {
		role = "launcher"
		attributes = &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER, AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN},
			UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		}
	}
	k := &task{Cmd: exec.Command(program(t), arguments...), errors: &bytes.Buffer{}}
	k.SysProcAttr = attributes
	sockets := readable(t)
	if err := os.Chmod(sockets, 0o777); err != nil {
		t.Fatal(err)
	}
	k.socket = filepath.Join(sockets, "socket")
	k.Env = append(os.Environ(), roleVariable+"="+role, socketVariable+"="+k.socket)
	k.Stderr = k.errors
	in, err := k.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := k.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	k.in, k.out = in, bufio.NewReader(out)
	if err := k.Start(); err != nil {
		lacks(t, "namespaces: "+err.Error())
	}
	t.Cleanup(func() {
		_ = k.Process.Kill()
		_ = k.Wait()
		if k.server != 0 && !pace.Until(10*time.Second, func() bool { return !lives(k.server) }) {
			t.Errorf("the server, process %d, is still there", k.server)
			_ = unix.Kill(k.server, unix.SIGKILL)
		}
	})
	line, err := k.out.ReadString('\n')
	number, found := strings.CutPrefix(strings.TrimSpace(line), "server ")
	if k.server, _ = strconv.Atoi(number); err != nil || !found {
		_ = k.Wait()
		if _, e := os.Stat("/dev/fuse"); e != nil {
			lacks(t, "FUSE: "+e.Error())
		}
		t.Fatalf("no server: %q, %v\n%s", line, err, k.errors)
	}
	return k
}

// finish reads what is left of the task's output and waits for its end.
func (k *task) finish(t testing.TB) string {
	t.Helper()
	out, err := io.ReadAll(k.out)
	if e := errors.Join(err, k.Wait()); e != nil {
		t.Fatalf("%v\n%s\n%s", e, out, k.errors)
	}
	return string(out)
}

// lives reports whether a process exists and is not a zombie.
func lives(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, found := strings.Cut(string(data), ") ")
	return err == nil && found && state[0] != 'Z'
}

func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("cannot run without %s", what)
	}
	t.Skipf("cannot run without %s", what)
}

// content returns reproducible bytes that compress by half.
func content(seed, n int) []byte {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32() & 15)
	}
	return b
}

// makeTree writes files of many sizes, a directory with many members, hard and symbolic links,
// holes, files that their owner may not read, and names that are not UTF-8.
func makeTree(t testing.TB, many int) string {
	t.Helper()
	dir := filepath.Join(readable(t), "tree")
	write := func(name string, data []byte, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range []int{0, 1, 4095, 4096, 4097, 131071, 131072, 131073, 1<<20 + 17} {
		write(fmt.Sprintf("sizes/%d", n), content(i, n), 0o644)
	}
	for i := range many {
		write(fmt.Sprintf("many/%d", i), content(i, i%5000), 0o644)
	}
	write("b\xff\xfe/\xc3\xa4 \n", []byte("name"), 0o755)
	write("secret/none", []byte("x"), 0)
	write("secret/executable", []byte("x"), 0o111)
	holes, err := os.Create(filepath.Join(dir, "holes"))
	if err != nil {
		t.Fatal(err)
	}
	_, one := holes.WriteAt(content(7, 200000), 2<<20)
	if err := errors.Join(one, holes.Truncate(4<<20+3), holes.Close(),
		os.Link(filepath.Join(dir, "sizes/4097"), filepath.Join(dir, "hard")), os.Symlink("sizes/4097", filepath.Join(dir, "soft")),
		os.Mkdir(filepath.Join(dir, "empty"), 0o700), os.Chmod(filepath.Join(dir, "secret"), 0)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func makeImage(t testing.TB, tree string, options ...string) string {
	t.Helper()
	image := filepath.Join(readable(t), "image.sqfs")
	args := append([]string{tree, image, "-no-progress", "-quiet", "-no-xattrs", "-processors", "2", "-comp", "zstd"}, options...)
	if out, err := exec.Command("mksquashfs", args...).CombinedOutput(); err != nil {
		t.Fatalf("mksquashfs: %v\n%s", err, out)
	}
	return image
}

// An ordinary user sees in the mount what is in the tree, whoever owns it there. When the task
// ends, so does the server.
func TestServe(t *testing.T) {
	tree := makeTree(t, 2000)
	want, err := listTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	k := start(t, makeImage(t, tree), 0, "manifest", "MOUNT")
	if got := strings.TrimSuffix(k.finish(t), "\n"); got != want {
		t.Errorf("the trees differ:\n%s", firstDifference(got, want))
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] + "\nwant\n" + b[i]
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}
