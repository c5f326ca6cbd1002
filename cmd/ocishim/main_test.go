package main_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// userName is the ordinary user. When the tests run as root, all of them run again as this user.
const userName = "nobody"

// fixtureVariable passes the directory of the fixture to the second run.
const fixtureVariable = "OCISHIM_TEST_FIXTURE"

// A fixture is shared by all tests and changed by none. It has in bin/ the program as the Makefile
// builds it, testdata/says, kernel, intruder, looks and inplace, and hack/fake-gpus; testdata/; and
// a bundle for each user.
type fixture struct{ dir string }

var shared fixture

func (f fixture) program() string  { return filepath.Join(f.dir, "bin", "ocishim") }
func (f fixture) inplace() string  { return filepath.Join(f.dir, "bin", "inplace") }
func (f fixture) says() string     { return filepath.Join(f.dir, "bin", "says") }
func (f fixture) kernel() string   { return filepath.Join(f.dir, "bin", "kernel") }
func (f fixture) intruder() string { return filepath.Join(f.dir, "bin", "intruder") }
func (f fixture) scripts() string  { return filepath.Join(f.dir, "testdata", "script") }

// bundle returns the bundle of the user who runs the tests.
func (f fixture) bundle() string {
	return filepath.Join(f.dir, "bundles", strconv.Itoa(os.Getuid()))
}

func TestMain(m *testing.M) {
	pace.UsualSignals()
	pace.MoreAtOnce() // one of them waits for all tests of another user, another one for a minute
	status, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare tests:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func testMain(m *testing.M) (int, error) {
	if dir := os.Getenv(fixtureVariable); dir != "" {
		shared = fixture{dir}
		return m.Run(), nil
	}
	fmt.Println(pace.String())
	dir, err := os.MkdirTemp("", "ocishim")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	shared = fixture{dir}
	if err := shared.make(); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// make ensures that an ordinary user can read the fixture, wherever the repository is: perhaps
// below root's home directory.
func (f fixture) make() error {
	if err := os.Chmod(f.dir, 0o755); err != nil {
		return err
	}
	for program, source := range map[string]string{f.program(): ".", f.inplace(): "./testdata/inplace"} {
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "netgo,osusergo,seccomp,urfave_cli_no_docs",
			"-gcflags=github.com/...=-l", "-ldflags", "-s -w -buildid= -extldflags=-static", "-o", program, source)
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", source, err, out)
		}
	}
	build := exec.Command("go", "build", "-o", filepath.Join(f.dir, "bin"), "../ocishim-image", "./testdata/says", "./testdata/kernel", "./testdata/intruder", "./testdata/looks")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs of testdata: %w: %s", err, out)
	}
	for _, script := range []string{"fake-gpus", "layout"} {
		if err := copyFile(filepath.Join("..", "..", "hack", script), filepath.Join(f.dir, "bin", script), 0o755); err != nil {
			return err
		}
	}
	if err := copyFile(filepath.Join("..", "..", "docs", "launchers.md"), filepath.Join(f.dir, "launchers.md"), 0o644); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(f.dir, "testdata"), os.DirFS("testdata")); err != nil {
		return err
	}
	if err := f.makeBundle(nil); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		return nil
	}
	return f.makeBundle(ordinaryUser())
}

// makeBundle makes the user's bundle, or the caller's if u is nil. The script is passed to bash as
// text, since the user may not be able to read its file.
func (f fixture) makeBundle(u *syscall.Credential) error {
	script, err := os.ReadFile(filepath.Join("..", "..", "hack", "bundle"))
	if err != nil {
		return err
	}
	uid := os.Getuid()
	if u != nil {
		uid = int(u.Uid)
	}
	parent := filepath.Join(f.dir, "bundles")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	// Sticky, like /tmp: the user makes a directory in it.
	if err := os.Chmod(parent, 0o777|os.ModeSticky); err != nil {
		return err
	}
	cmd := exec.Command("bash", "-c", string(script), "bundle", filepath.Join(parent, strconv.Itoa(uid)))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make bundle: %w: %s", err, out)
	}
	return nil
}

// ordinaryUser returns the credentials of userName, for new processes. Only root can use them.
func ordinaryUser() *syscall.Credential {
	u, err := user.Lookup(userName)
	if err != nil {
		panic(err) // every distribution has the name in /etc/passwd
	}
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uerr, gerr); err != nil {
		panic(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: []uint32{uint32(gid)}}
}

// skip skips a test if the machine lacks something. CI lacks nothing and runs the tests as root and
// as an ordinary user: each can do what the other cannot.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("cannot run: %s", why)
	}
	t.Skip(why)
}

// withFUSE is a script that executes its arguments where everybody may open /dev/fuse, as on most
// machines. The first argument is an empty directory.
const withFUSE = `mount -t tmpfs devices "$1" && mknod -m 666 "$1/fuse" c 10 229 && mount --bind "$1/fuse" /dev/fuse; shift; exec "$@"`

// TestAsUser runs all tests of this package again as an ordinary user. To run a single one: -run
// TestAsUser/TestScripts/NAME.
func TestAsUser(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "only root can become an ordinary user; as one, the other tests are all there is")
	}
	credential := ordinaryUser()
	home := filepath.Join(shared.dir, "user")
	if err := errors.Join(os.Mkdir(home, 0o700), os.Chown(home, int(credential.Uid), int(credential.Gid))); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(shared.dir, "bin", "tests")
	// This precedes all parallel tests: a child that one of them forks would have the copy open for
	// writing, and execve would refuse it.
	if err := copyFile("/proc/self/exe", program, 0o755); err != nil {
		t.Fatal(err)
	}
	devices := filepath.Join(shared.dir, "devices")
	if err := os.Mkdir(devices, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", withFUSE, "sh", devices,
		"setpriv", fmt.Sprintf("--reuid=%d", credential.Uid), fmt.Sprintf("--regid=%d", credential.Gid), fmt.Sprintf("--groups=%d", credential.Groups[0]),
		program, "-test.skip=^TestAsUser$", "-test.run="+patternBelow("TestAsUser"))
	if deadline, ok := t.Deadline(); ok { // before our own, to report what hangs
		cmd.Args = append(cmd.Args, "-test.timeout="+(time.Until(deadline)*9/10).String())
	}
	if testing.Short() {
		cmd.Args = append(cmd.Args, "-test.short")
	}
	if flag.Lookup("test.v").Value.String() == "true" { // with -json the value is another one, and its reader hides what passes
		cmd.Args = append(cmd.Args, "-test.v")
	}
	cmd.Dir = home
	cmd.Env = []string{
		fixtureVariable + "=" + shared.dir, "HOME=" + home, "TMPDIR=" + home, "USER=" + userName,
		"PATH=" + os.Getenv("PATH"), "CI=" + os.Getenv("CI"), pace.Environ(), "OCISHIM_TEST_ALL=" + os.Getenv("OCISHIM_TEST_ALL"),
		"OCISHIM_TEST_ROUNDS=" + os.Getenv("OCISHIM_TEST_ROUNDS"), "OCISHIM_TEST_TASKS=" + os.Getenv("OCISHIM_TEST_TASKS"),
		"OCISHIM_TEST_SEEDS=" + os.Getenv("OCISHIM_TEST_SEEDS"), "OCISHIM_TEST_SEED=" + os.Getenv("OCISHIM_TEST_SEED"),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	// They take longer than anything else, so they start first.
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	err := cmd.Wait()
	t.Logf("as %s:\n%s", userName, &out)
	if err != nil {
		t.Errorf("as %s: %v", userName, err)
	}
}

// asked reports whether -run selects the test with the name.
func asked(test string) bool {
	return strings.Contains(flag.Lookup("test.run").Value.String(), test)
}

// patternBelow returns the pattern of -run below the test with the name.
func patternBelow(name string) string {
	for _, arg := range os.Args[1:] {
		pattern, ok := strings.CutPrefix(strings.TrimLeft(arg, "-"), "test.run=")
		if _, below, found := strings.Cut(pattern, "/"); ok && found && strings.Contains(pattern, name) {
			return below
		}
	}
	return ""
}

func copyFile(from, to string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, mode)
}
