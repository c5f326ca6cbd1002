package gpu_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/gpu"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/host/fakenode"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/scene"
	"github.com/ocishim/ocishim/runtime"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// These tests run real containers with this host's own programs and C library, and a
// driver library that the C compiler makes. The test program launches them itself, so
// nothing but the edits is tested.

func init() {
	runtime.BecomeInit()
	inplace.FinishBecoming(nil)
}

// launchVariable makes the test program launch the container of a job file.
const launchVariable = "OCISHIM_TEST_LAUNCH"

// A job is a container to run.
type job struct {
	Bundle, State string
	Edits         []bundle.Edit
	HPC           bool // with the hpc profile
	Supervised    bool // by libcontainer, even if it could be in place
}

func TestMain(m *testing.M) {
	doing, do := "launch", func() (int, error) { return launch(os.Getenv(launchVariable)) }
	if os.Getenv(launchVariable) == "" {
		doing, do = "prepare tests", func() (int, error) { return runWithMade(m) }
	}
	status, err := do()
	if err != nil {
		fmt.Fprintln(os.Stderr, doing+":", err)
		status = 125
	}
	os.Exit(status)
}

func launch(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var j job
	if err := json.Unmarshal(data, &j); err != nil {
		return 0, err
	}
	b, err := bundle.Load(j.Bundle)
	if err != nil {
		return 0, err
	}
	b.ID = fmt.Sprintf("gpu-%d", os.Getpid()) // as root it names a cgroup, and others may run these tests as well
	edits := j.Edits
	if j.HPC {
		hpc, err := hpcEdit(b)
		if err != nil {
			return 0, err
		}
		edits = append([]bundle.Edit{hpc}, edits...)
	}
	if err := b.Apply(edits...); err != nil {
		return 0, err
	}
	store, err := runtime.MakeStore(j.State)
	if err != nil {
		return 0, err
	}
	return runtime.Run(store, b, runtime.LaunchOptions{RootlessCgroups: true, Policies: runtime.ForSlurmTask(false), InPlace: j.HPC && !j.Supervised})
}

func hpcEdit(b *bundle.Bundle) (bundle.Edit, error) {
	cfg := config.Default()
	cfg.HPC.Home, cfg.HPC.Workdir = false, false
	return profile.HPC(b.Spec, profile.Request{
		Config: cfg, UID: os.Getuid(), GID: os.Getgid(),
		Exists:  func(path string) bool { _, err := os.Stat(path); return err == nil },
		InImage: func(string) bool { return false },
	})
}

const (
	driverVersion = "550.54.15"
	hostCUDA      = "550" // what the host's library answers
)

// A machine is a fake host with a real libcuda, and an image with programs that use it.
type machine struct {
	node *fakenode.Node
	dir  string // of the bundle
	user int
	hpc  bool // with the hpc profile

	supervised bool // launched by libcontainer even if it could be in place
}

// newMachine makes a machine for a user: root, or another one.
func newMachine(t *testing.T, user int) *machine {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		lacks(t, "no gcc here")
	}
	m := &machine{node: fakenode.New(t), dir: filepath.Join(t.TempDir(), "bundle"), user: user}
	m.node.NVIDIA(fakenode.NVIDIA{GPUs: 1, Driver: driverVersion, LibDir: "/usr/lib64"})
	run(t, "cp", "-a", madeOnce.bundle(t), m.dir)
	compile(t, gcc, "driver.c", m.node.Path("/usr/lib64/libcuda.so."+driverVersion), "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-DVALUE="+hostCUDA)
	compile(t, gcc, "linked.c", m.image("/usr/bin/linked"), madeOnce.compiled(t, gcc, "driver.c", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-DVALUE=0"))
	compile(t, gcc, "opens.c", m.image("/usr/bin/opens"), "-ldl")
	return m
}

// lacks skips a test that cannot run here; on CI it fails, so that nothing is skipped
// unnoticed.
func lacks(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("cannot run: %s", why)
	}
	t.Skip(why)
}

func (m *machine) image(path string) string { return filepath.Join(m.dir, "rootfs", path) }

func compile(t *testing.T, gcc, source, out string, args ...string) {
	t.Helper()
	run(t, "cp", madeOnce.compiled(t, gcc, source, args...), out)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// ldconfig gives the image a loader's cache in the given format.
func (m *machine) ldconfig(t *testing.T, format string) {
	t.Helper()
	run(t, "/sbin/ldconfig", "-r", m.image("/"), "-c", format)
}

// request is the request of a Slurm task with a GPU.
func (m *machine) request(t *testing.T, env ...string) gpu.Request {
	t.Helper()
	image, err := host.Open(m.image("/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(image.Close)
	b, err := bundle.Load(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.hpc {
		hpc, err := hpcEdit(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(hpc); err != nil {
			t.Fatal(err)
		}
	}
	return gpu.Request{
		Scene: scene.Scene{
			Host: m.node.Tree(), Image: image, Arch: goruntime.GOARCH, Mounts: b.Spec.Mounts,
			Env: append(append([]string{"SLURM_STEP_GPUS=0", "CUDA_VISIBLE_DEVICES=0"}, b.Spec.Process.Env...), env...),
		},
		Slurm: true,
	}
}

// run runs a command in the container with the edits of the request, and returns
// what it printed.
func (m *machine) run(t *testing.T, r gpu.Request, command ...string) string {
	t.Helper()
	result, err := gpu.Edits(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range result.Warnings {
		t.Log(warning)
	}
	for i := range result.Edits {
		// They are plain files; devices have their own tests.
		result.Edits[i].Devices = nil
	}
	m.setProcess(t, command, r.Env)
	before := listing(t, m.image("/"))
	out := m.launch(t, result.Edits)
	if after := listing(t, m.image("/")); after != before {
		t.Errorf("the image was changed:\n%s\n%s", before, after)
	}
	return out
}

func (m *machine) setProcess(t *testing.T, command, env []string) {
	t.Helper()
	path := filepath.Join(m.dir, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	spec.Process.Args, spec.Process.Env, spec.Process.Terminal = command, env, false
	if data, err = json.Marshal(spec); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) launch(t *testing.T, edits []bundle.Edit) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ocishim")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data, err := json.Marshal(job{Bundle: m.dir, State: filepath.Join(dir, "state"), Edits: edits, HPC: m.hpc, Supervised: m.supervised})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "job.json"), data, 0o644)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "state"), 0o700)
	}
	if err == nil {
		err = os.Chown(filepath.Join(dir, "state"), m.user, m.user)
	}
	if err != nil {
		t.Fatal(err)
	}
	program := copyOfTest(t, dir)
	cmd := exec.Command(program)
	cmd.Env = []string{launchVariable + "=" + filepath.Join(dir, "job.json"), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if m.user != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(m.user), Gid: uint32(m.user)}}
		for _, path := range []string{dir, filepath.Dir(m.dir), filepath.Dir(filepath.Dir(m.dir)), m.node.Root, filepath.Dir(m.node.Root)} {
			if err := os.Chmod(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the container ended with %v\n%s", err, out)
	}
	return string(out)
}

// copyOfTest copies this program to a place where another user can execute it.
func copyOfTest(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "program")
	run(t, "cp", self, path)
	return path
}

// listing lists all files of the image with their sizes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	return run(t, "find", dir, "-printf", "%P %s %m %l\n")
}

func expect(t *testing.T, got string, lines ...string) {
	t.Helper()
	if want := strings.Join(lines, "\n") + "\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// asUsers runs the test as root and as an ordinary user, if permitted.
func asUsers(t *testing.T, test func(t *testing.T, user int)) {
	users := map[string]int{"user": os.Getuid()}
	if os.Getuid() == 0 {
		users = map[string]int{"root": 0, "user": 65534}
	}
	for name, user := range users {
		t.Run(name, func(t *testing.T) { test(t, user) })
	}
}

// userOnly returns an ordinary user: the current one, or one that root may become.
func userOnly(t *testing.T) int {
	t.Helper()
	if os.Getuid() == 0 {
		return 65534
	}
	return os.Getuid()
}
