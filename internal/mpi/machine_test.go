package mpi

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/host/fakenode"
	"github.com/ocishim/ocishim/internal/scene"
)

// A machine is a host and an image in directories of the test, with libraries and
// programs that a compiler makes. Nothing is run here: TestMPIMatrix in
// test/integration shows what the loader really does with such a plan.
type machine struct {
	t           *testing.T
	node, image string
	request     Request
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, node: t.TempDir(), image: t.TempDir()}
	libc, err := filepath.EvalSymlinks("/lib/x86_64-linux-gnu/libc.so.6")
	if err != nil {
		t.Skip("made for Debian on x86-64")
	}
	data, err := os.ReadFile(libc)
	m.check(err)
	for _, root := range []string{m.node, m.image} {
		m.write(root+"/lib/x86_64-linux-gnu/libc.so.6", string(data))
	}
	node, err := host.Open(m.node, fakenode.Prober{})
	m.check(err)
	image, err := host.Open(m.image, nil)
	m.check(err)
	t.Cleanup(func() { node.Close(); image.Close() })
	m.request = Request{
		Scene: scene.Scene{
			Host: node, Image: image, Arch: "amd64", Cwd: "/", Env: []string{"PATH=/bin"},
			Mounts: []specs.Mount{{Destination: "/dev", Source: "/dev", Options: []string{"rbind"}}},
		},
		Program:  "/bin/program",
		Profiles: []Profile{{Name: "site", Replace: []string{"/opt/site/libmpi.so.12"}, ABI: ABIMajor, Mismatch: MismatchRefuse}},
	}
	return m
}

func (m *machine) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) write(path, content string) {
	m.t.Helper()
	m.check(os.MkdirAll(filepath.Dir(path), 0o755))
	m.check(os.WriteFile(path, []byte(content), 0o755))
}

// compiled keeps what gcc made during this run of the tests, by all of its inputs: most
// tests need the same few files.
var compiled sync.Map

// gcc compiles the text.
func (m *machine) gcc(out, text string, args ...string) string {
	m.t.Helper()
	made := sha256.New()
	fmt.Fprintf(made, "%q", text)
	roots := strings.NewReplacer(m.image, "IMAGE", m.node, "NODE")
	for _, arg := range args {
		fmt.Fprintf(made, "%q", roots.Replace(arg))
		_, file, ok := strings.Cut(arg, "--version-script,")
		if !ok {
			file = arg
		}
		if data, err := os.ReadFile(file); err == nil {
			fmt.Fprintf(made, "%x", sha256.Sum256(data))
		}
	}
	key := string(made.Sum(nil))
	if data, ok := compiled.Load(key); ok {
		_ = os.Remove(out)
		m.write(out, data.(string))
		return out
	}
	m.check(os.MkdirAll(filepath.Dir(out), 0o755))
	source := filepath.Join(m.t.TempDir(), "source.c")
	m.write(source, text)
	said, err := exec.Command("gcc", append([]string{"-o", out, source}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("gcc %v: %v\n%s", args, err, said)
	}
	data, err := os.ReadFile(out)
	m.check(err)
	compiled.Store(key, string(data))
	return out
}

// library makes DIR/FILE, and a link to it by its DT_SONAME.
func (m *machine) library(dir, file, text string, args ...string) string {
	m.t.Helper()
	base, rest, _ := strings.Cut(file, ".so.")
	major, _, _ := strings.Cut(rest, ".")
	soname := base + ".so." + major
	out := m.gcc(dir+"/"+file, text, append([]string{"-shared", "-fPIC", "-Wl,-soname," + soname}, args...)...)
	if soname != file {
		_ = os.Remove(dir + "/" + soname)
		m.check(os.Symlink(file, dir+"/"+soname))
	}
	return out
}

const (
	mpich   = "int MPI_Init(void) { return 0; }"
	openmpi = mpich + " int ompi_mpi_comm_world;"
	calls   = "int MPI_Init(void); int main(void) { return MPI_Init(); }"
)

// imageMPI makes the image's MPI, where the loader finds it by itself, and a program
// that uses it.
func (m *machine) imageMPI(file, text string) {
	m.t.Helper()
	lib := m.library(m.image+"/usr/lib/x86_64-linux-gnu", file, text)
	m.gcc(m.image+"/bin/program", calls, lib)
}

// siteMPI makes the host's MPI, and a library beside it that it needs.
func (m *machine) siteMPI(file, text string) {
	m.t.Helper()
	fabric := m.library(m.node+"/opt/site", "libfabric.so.1.2.3", "int fi_getinfo(void) { return 0; }")
	m.library(m.node+"/opt/site", file, text+" int fi_getinfo(void); int site(void) { return fi_getinfo(); }", fabric)
}

// plan returns the result of Edits in brief: mounts and links of the container, or the
// error.
func (m *machine) plan() string {
	m.t.Helper()
	result, err := Edits(m.request)
	if err != nil {
		return "error: " + err.Error()
	}
	var lines []string
	for _, e := range result.Edits {
		if len(e.Mounts) == 0 {
			lines = append(lines, e.Rule)
		}
		for _, mount := range e.Mounts {
			source := strings.TrimPrefix(mount.Source, m.node)
			lines = append(lines, fmt.Sprintf("%s at %s", source, mount.Destination))
		}
		for _, l := range e.Links {
			lines = append(lines, fmt.Sprintf("%s -> %s", l.Path, l.Target))
		}
		for _, d := range e.Devices {
			lines = append(lines, fmt.Sprintf("device %s %s %d:%d %v %s", d.Path, d.Type, d.Major, d.Minor, *d.FileMode, d.Access))
		}
		lines = append(lines, e.Env...)
		lines = append(lines, e.EnvPrepend...)
	}
	for _, w := range result.Warnings {
		lines = append(lines, "warning: "+w)
	}
	if result.Hint != "" {
		lines = append(lines, "hint: "+result.Hint)
	}
	return strings.Join(lines, "\n")
}

// expect checks that the plan has every line.
func (m *machine) expect(want ...string) {
	m.t.Helper()
	got := m.plan()
	for _, line := range want {
		if !strings.Contains("\n"+got+"\n", "\n"+line+"\n") {
			m.t.Errorf("no line %q in:\n%s", line, got)
		}
	}
	if len(want) == 0 && got != "" {
		m.t.Errorf("got:\n%s\nwant nothing", got)
	}
}

// refuses checks that the error contains the text.
func (m *machine) refuses(text string) {
	m.t.Helper()
	if got := m.plan(); !strings.HasPrefix(got, "error: ") || !strings.Contains(got, text) {
		m.t.Errorf("got %s\nwant an error with %q", got, text)
	}
}
