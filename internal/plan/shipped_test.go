package plan

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/host/fakenode"
	"github.com/ocishim/ocishim/internal/mpi"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scene"
)

// A cluster is a host as a file of mpi.d expects it, and an image with a program. A compiler makes
// the libraries and programs; only the hardware is simulated, by files that stand for devices
// (fakenode).
type cluster struct {
	*fakenode.Node
	image string
	tree  *host.Tree
}

const lib = "/usr/lib/x86_64-linux-gnu"

func newCluster(t *testing.T, devices ...string) *cluster {
	t.Helper()
	libc, err := os.ReadFile(lib + "/libc.so.6")
	if err != nil {
		t.Skip("made for Debian on x86-64")
	}
	s := &cluster{Node: fakenode.New(t), image: t.TempDir()}
	s.File(lib+"/libc.so.6", string(libc))
	(&fakenode.Node{T: t, Root: s.image}).File(lib+"/libc.so.6", string(libc))
	for i, device := range devices {
		s.Device(device, 240, i)
	}
	if s.tree, err = host.Open(s.image, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.tree.Close)
	return s
}

// gcc makes a file below a root. A library's soname follows from its file name: libx.so.1.2 has the
// DT_SONAME libx.so.1. It is linked with others by their paths.
func (s *cluster) gcc(root, file, text string, needs ...string) string {
	s.T.Helper()
	out, source := filepath.Join(root, file), filepath.Join(s.T.TempDir(), "x.c")
	args := append([]string{"-o", out, source, "-Wl,--no-as-needed,--allow-shlib-undefined"}, needs...)
	base, version, isLibrary := strings.Cut(filepath.Base(file), ".so.")
	major, _, _ := strings.Cut(version, ".")
	soname := base + ".so." + major
	if isLibrary || strings.HasSuffix(file, ".so") {
		args = append(args, "-shared", "-fPIC")
	}
	if isLibrary {
		args = append(args, "-Wl,-soname,"+soname)
	}
	for _, err := range []error{os.MkdirAll(filepath.Dir(out), 0o755), os.WriteFile(source, []byte(text), 0o600)} {
		if err != nil {
			s.T.Fatal(err)
		}
	}
	if said, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		s.T.Fatalf("gcc %v: %v\n%s", args, err, said)
	}
	if link := filepath.Join(filepath.Dir(out), soname); isLibrary && link != out {
		_ = os.Remove(link)
		if err := os.Symlink(filepath.Base(file), link); err != nil {
			s.T.Fatal(err)
		}
	}
	return out
}

const (
	mpich   = "int MPI_Init(void) { return 0; }"
	openmpi = mpich + " int ompi_mpi_comm_world;"
	nothing = "int x;"
)

// libraries makes several libraries of the host that do nothing.
func (s *cluster) libraries(dir string, files ...string) (made []string) {
	s.T.Helper()
	for _, file := range files {
		made = append(made, s.gcc(s.Root, dir+"/"+file, nothing))
	}
	return made
}

// program makes the image's program, with its MPI and whatever else it needs.
func (s *cluster) program(file, text string, parts ...string) {
	s.T.Helper()
	needs := []string{s.gcc(s.image, lib+"/"+file, text)}
	for _, part := range parts {
		needs = append(needs, s.gcc(s.image, lib+"/"+part, nothing))
	}
	s.gcc(s.image, "/bin/program", "int MPI_Init(void); int main(void) { return MPI_Init(); }", needs...)
}

// plan applies the file of mpi.d, unchanged, and returns the result as lines.
func (s *cluster) plan(file string) string {
	s.T.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "mpi.d", file))
	if err != nil {
		s.T.Fatal(err)
	}
	copied := filepath.Join(s.T.TempDir(), file)
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		s.T.Fatal(err)
	}
	cfg, err := config.Load(config.Options{Path: copied, Owner: os.Geteuid()})
	if err != nil {
		s.T.Fatal(err)
	}
	result, err := mpi.Edits(mpi.Request{
		Scene:   scene.Scene{Host: s.Tree(), Image: s.tree, Arch: "amd64", Cwd: "/", Env: []string{"PATH=/bin"}},
		Program: "/bin/program", Profiles: mpiProfiles(cfg.MPI),
	})
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var lines strings.Builder
	for _, e := range result.Edits {
		fmt.Fprintln(&lines, e.Rule)
		for _, m := range e.Mounts {
			fmt.Fprintf(&lines, "%s at %s\n", strings.TrimPrefix(m.Source, s.Root), m.Destination)
		}
		for _, l := range e.Links {
			fmt.Fprintf(&lines, "link %s\n", filepath.Base(l.Path))
		}
		for _, d := range e.Devices {
			fmt.Fprintf(&lines, "device %s\n", d.Path)
		}
		for _, entry := range append(e.Env, e.EnvPrepend...) {
			fmt.Fprintf(&lines, "env %s\n", entry)
		}
	}
	return lines.String()
}

// expect requires the lines, and forbids those that begin with a minus.
func (s *cluster) expect(file string, lines ...string) {
	s.T.Helper()
	got := "\n" + s.plan(file)
	for _, line := range lines {
		line, none := strings.CutPrefix(line, "-")
		if strings.Contains(got, "\n"+line+"\n") == none {
			s.T.Errorf("%s: %q is there: %v:\n%s", file, line, none, got)
		}
	}
}

// refuses requires an error that begins with the text.
func (s *cluster) refuses(file, text string) {
	s.T.Helper()
	if got := s.plan(file); !strings.HasPrefix(got, "error: ") || !strings.Contains(got, text) {
		s.T.Errorf("%s: got %s, want an error with %q", file, got, text)
	}
}

const at = "/run/.ocishim/mpi"

func TestShippedMPICH(t *testing.T) {
	s := newCluster(t)
	s.gcc(s.Root, "/opt/mpich/lib/libmpi.so.12.4.1", mpich)
	s.libraries("/opt/mpich/lib", "libmpifort.so.12.4.1", "libmpicxx.so.12.4.1")
	s.program("libmpich.so.12.1.0", mpich, "libmpifort.so.12.1.0")
	s.expect("mpich-abi.toml",
		"/opt/mpich/lib/libmpi.so.12.4.1 at "+lib+"/libmpich.so.12.1.0", "/opt/mpich/lib/libmpifort.so.12.4.1 at "+lib+"/libmpifort.so.12.1.0",
		"link libmpi.so.12", "link libmpich.so.12", "link libmpifort.so.12", "-link libmpicxx.so.12")
}

func TestShippedABI(t *testing.T) {
	s := newCluster(t)
	s.gcc(s.Root, "/opt/mpich/lib/libmpi_abi.so.0.1.0", mpich)
	s.program("libmpi_abi.so.0.0.0", mpich)
	s.expect("mpi-abi.toml", "/opt/mpich/lib/libmpi_abi.so.0.1.0 at "+lib+"/libmpi_abi.so.0.0.0", "link libmpi_abi.so.0")
}

func TestShippedOpenMPI(t *testing.T) {
	s := newCluster(t)
	s.gcc(s.Root, "/opt/openmpi/lib/libmpi.so.40.30.4", openmpi)
	s.libraries("/opt/openmpi/lib", "libopen-pal.so.40.30.2", "libopen-rte.so.40.30.2", "libmpi_mpifh.so.40.30.0", "libmpi_usempif08.so.40.30.0")
	s.program("libmpi.so.40.20.0", openmpi, "libopen-pal.so.40.20.0")
	s.expect("openmpi.toml",
		"/opt/openmpi/lib/libmpi.so.40.30.4 at "+lib+"/libmpi.so.40.20.0", "/opt/openmpi/lib/libopen-pal.so.40.30.2 at "+lib+"/libopen-pal.so.40.20.0",
		"/opt/openmpi at "+at+"/prefix", "env OPAL_PREFIX="+at+"/prefix", "-link libmpi_mpifh.so.40")
}

// verbs makes the libraries of rdma-core. Its drivers of some cards are links to libraries.
func (s *cluster) verbs(dir string) []string {
	s.T.Helper()
	made := s.libraries(dir, "libibverbs.so.1.14.0", "librdmacm.so.1.3.0", "libmlx5.so.1.24.0", "libefa.so.1.3.0")
	s.Link(dir+"/libibverbs/libmlx5-rdmav34.so", "../libmlx5.so.1.24.0")
	s.Link(dir+"/libibverbs/libefa-rdmav34.so", "../libefa.so.1.3.0")
	return made
}

func TestShippedInfiniBand(t *testing.T) {
	s := newCluster(t, "/dev/infiniband/uverbs0", "/dev/infiniband/rdma_cm", "/dev/knem", "/dev/xpmem")
	verbs := s.verbs(lib)
	ucx := s.libraries(lib, "libucp.so.0.0.0", "libuct.so.0.0.0", "libucs.so.0.0.0", "libucm.so.0.0.0")
	s.libraries(lib, "libxpmem.so.0.0.0")
	s.gcc(s.Root, lib+"/ucx/libuct_ib.so", nothing, verbs[0], verbs[2])
	s.gcc(s.Root, "/opt/mpich/lib/libmpi.so.12.4.1", mpich, ucx[0])
	s.program("libmpi.so.12.1.0", mpich)
	const drivers = at + "/libibverbs/libibverbs/"
	s.expect("infiniband.toml",
		"/opt/mpich/lib/libmpi.so.12.4.1 at "+lib+"/libmpi.so.12.1.0", "link libucp.so.0", "link libuct.so.0", "link libibverbs.so.1", "link librdmacm.so.1",
		"link libmlx5.so.1", "link libxpmem.so.0", lib+"/ucx at "+at+"/ucx", "env UCX_MODULE_DIR="+at+"/ucx", lib+" at "+at+"/libibverbs",
		"env IBV_DRIVERS="+drivers+"libefa:"+drivers+"libmlx5", "env UCX_NET_DEVICES=mlx5_0:1",
		"device /dev/infiniband/uverbs0", "device /dev/infiniband/rdma_cm", "device /dev/knem", "device /dev/xpmem")
	s.Remove("/dev/infiniband/uverbs0")
	s.refuses("infiniband.toml", `mpi.infiniband.require "verbs": the fabric that the site requires is missing: the host has no /dev/infiniband/uverbs*`)
}

func TestShippedEFA(t *testing.T) {
	s := newCluster(t, "/dev/infiniband/uverbs0")
	verbs := s.verbs("/usr/lib64")
	fabric := s.gcc(s.Root, "/opt/amazon/efa/lib64/libfabric.so.1.28.0", nothing, verbs[0], verbs[3])
	s.gcc(s.Root, "/opt/amazon/openmpi/lib64/libmpi.so.40.30.6", openmpi, fabric)
	s.program("libmpi.so.40.30.4", openmpi)
	s.expect("efa.toml",
		"/opt/amazon/openmpi/lib64/libmpi.so.40.30.6 at "+lib+"/libmpi.so.40.30.4", "/opt/amazon/openmpi at "+at+"/prefix", "env OPAL_PREFIX="+at+"/prefix",
		"link libfabric.so.1", "link libefa.so.1", "link libibverbs.so.1", "env FI_PROVIDER=efa", "device /dev/infiniband/uverbs0",
		"env IBV_DRIVERS="+at+"/libibverbs/libibverbs/libefa:"+at+"/libibverbs/libibverbs/libmlx5")
	s.Remove("/opt/amazon/efa/lib64")
	s.refuses("efa.toml", "libfabric.so.1")
}

func TestShippedCray(t *testing.T) {
	s := newCluster(t, "/dev/cxi0", "/dev/cxi1", "/dev/xpmem")
	const library = "/opt/cray/pe/mpich/default/ofi/gnu/12.3/lib-abi-mpich/libmpi.so.12"
	s.libraries("/usr/lib64", "libcxi.so.1.5.0", "libxpmem.so.0.0.0")
	fabric := s.gcc(s.Root, "/opt/cray/libfabric/1.22.0/lib64/libfabric.so.1.30.0", nothing)
	pmi := s.gcc(s.Root, "/opt/cray/pe/pmi/default/lib/libpmi2.so.0.6.0", nothing)
	s.gcc(s.Root, library, mpich, fabric, pmi)
	s.File("/etc/libibverbs.d/cxi.driver", "driver cxi\n")
	s.program("libmpi.so.12.1.0", mpich)
	s.expect("cray.toml",
		"mpi.cray: the site's MPICH (libmpi.so.12), by libpmi2.so.0, for the image's MPICH (libmpi.so.12.1.0)",
		library+" at "+lib+"/libmpi.so.12.1.0", "link libfabric.so.1", "link libcxi.so.1", "link libpmi2.so.0", "link libxpmem.so.0",
		"/etc/libibverbs.d at /etc/libibverbs.d", "env MPICH_SMP_SINGLE_COPY_MODE=CMA", "device /dev/cxi0", "device /dev/cxi1", "device /dev/xpmem")
	s.Remove("/dev/xpmem") // is only a faster way
	s.expect("cray.toml", "link libcxi.so.1", "-device /dev/xpmem")
	s.program("libmpi.so.12.9.0", mpich, "libmpi_gtl_cuda.so.0.0.0")
	s.expect("cray.toml", "the image's own MPICH (libmpi.so.12.9.0): no profile of the site matches it")
	s.program("libmpi.so.12.8.0", mpich)
	s.Remove("/dev/cxi0")
	s.Remove("/dev/cxi1")
	s.refuses("cray.toml", `mpi.cray.require "cxi": the fabric that the site requires is missing: the host has no /dev/cxi*`)
}

// A user who keeps the image's MPI still gets the hint.
func TestHintOfOwnMPI(t *testing.T) {
	s := newCluster(t)
	s.program("libmpi.so.12.1.0", mpich)
	b := task(t, "PATH=/bin", "OCISHIM_MPI=own", "SLURM_NTASKS=2", "SLURM_PROCID=0", "PMIX_RANK=0")
	b.Rootfs, b.Spec.Process.Args = s.image, []string{"sh", "-c", "program"}
	s.gcc(s.image, "/bin/sh", "int execve(); int main(void) { return execve(); }")
	scene := nowhere(t)
	scene.Host = s.Tree()
	scene.Config.MPI = []config.MPI{{Name: "site", Replace: []string{"/none/libmpi.so.12"}}}
	p := composed(b, scene)
	defer p.close()
	p.request.MPI = request.Choice{Value: request.MPIOwn, By: request.MPIVariable}
	err := p.mpi()
	const want = "this step offers PMIx, and MPICH (libmpi.so.12.1.0) needs PMI2: its 2 tasks will not find each other; use srun --mpi=pmi2"
	if err != nil || p.Hint != want || len(p.Edits) != 1 || p.Edits[0].Rule != "the image's own: OCISHIM_MPI" {
		t.Errorf("got %+v, %v", p.Result, err)
	}
}
