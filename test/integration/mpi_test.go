//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// mpiCase is a way to start test/mpi/measure.c: with which MPI, on how many compute nodes, with how
// many ranks.
type mpiCase struct {
	mpi          string // openmpi, mpich
	nodes, ranks int
}

func (m mpiCase) String() string { return fmt.Sprintf("%s_%d_nodes_%d_ranks", m.mpi, m.nodes, m.ranks) }

// mpiCases are the cases that must work, each bare and in a container.
var mpiCases = func() (all []mpiCase) {
	for _, mpi := range []string{"openmpi", "mpich"} {
		for _, ranks := range []int{2, 3, 4, 8} {
			all = append(all, mpiCase{mpi, 1, ranks})
		}
		all = append(all, mpiCase{mpi, 3, 3}, mpiCase{mpi, 3, 6})
	}
	return all
}()

// mpiPMI is the plugin of Slurm by which Debian's build of an MPI finds its ranks.
var mpiPMI = map[string]string{"openmpi": "pmix", "mpich": "pmi2"}

// environment adapts the MPI to a cluster on one machine: its compute nodes use the loopback
// interface, and there are more ranks than processors. It is the same bare and in a container.
func (m mpiCase) environment() []string {
	var env []string
	switch {
	case m.mpi == "openmpi" && m.nodes > 1:
		env = append(env, "OMPI_MCA_btl_tcp_if_include=lo")
	case m.nodes > 1:
		env = append(env, "UCX_TLS=self,tcp", "UCX_NET_DEVICES=lo")
	}
	if m.mpi == "openmpi" && m.ranks > 2 {
		env = append(env, "OMPI_MCA_mpi_yield_when_idle=1")
	}
	return env
}

const (
	mpiBundle = "/home/alice/mpi"  // with its programs in /opt/mpi
	mpiBare   = "/home/alice/bare" // the same programs, outside of containers
)

// mpiCluster is a cluster with MPI, the programs and their bundle, and an allocation of alice's in
// which everything runs.
type mpiCluster struct {
	*cluster
	job       string
	container string // for srun --container
}

func newMPICluster(t *testing.T, runtime, slurm string) *mpiCluster {
	t.Helper()
	c := newCluster(t, column{runtime: runtime, slurm: slurm, mode: "run"}, "mpi")
	c.mpi = true
	t.Cleanup(c.down)
	c.up(t)
	for from, to := range map[string]string{"test/mpi/measure.c": "measure.c", "test/mpi/cma.c": "cma.c", "hack/bundle": "bundle"} {
		copyFile(t, filepath.Join(repo, from), filepath.Join(c.onHost("/opt"), to))
	}
	m := &mpiCluster{cluster: c, container: mpiBundle}
	m.inside(t, "root", "bash", "-ec", mpiBuild, "bash", bundleFlags(runtime))
	if runtime != "ocishim" {
		if err := placesForSlurm(c.onHost(mpiBundle + "/rootfs")); err != nil {
			t.Fatal(err)
		}
	}
	m.allocate(t)
	return m
}

// allocate makes alice's allocation.
func (m *mpiCluster) allocate(t *testing.T) {
	t.Helper()
	said := m.inside(t, "alice", "salloc", "--no-shell", "--nodes=3", "--ntasks-per-node=8")
	job := regexp.MustCompile(`Granted job allocation (\d+)`).FindStringSubmatch(said)
	if job == nil {
		t.Fatalf("salloc said %q", said)
	}
	m.job = job[1]
}

// mpiBuild compiles the programs for the available MPIs and makes the bundle with what they need:
// the libraries that they are linked with, and the libraries and files that MPI looks up by name.
const mpiBuild = `
cd /opt
mkdir mpi
flags="-std=gnu11 -O2 -Wall -Wextra -Werror"
mpicc.mpich $flags -o mpi/measure-mpich measure.c
if command -v mpicc.openmpi >/dev/null; then mpicc.openmpi $flags -o mpi/measure-openmpi measure.c; fi
gcc $flags -o mpi/cma cma.c
lib=$(dirname "$(readlink -f "$(ldconfig -p | sed -n 's/.*libmpich.so.12 .*=> //p' | head -1)")")
with=()
for path in /etc/openmpi /usr/share/openmpi "$lib/pmix2/lib" "$lib/pmix2/share" "$lib/ucx/libuct_cma.so.0"; do
	if [ -e "$path" ]; then with+=(--with "$path"); fi
done
bash ./bundle $1 --with /opt/mpi "${with[@]}" /home/alice/mpi
mv mpi /home/alice/bare
chown -R alice:alice /home/alice`

func bundleFlags(runtime string) string {
	if runtime == "runc" {
		return fmt.Sprintf("--map %d:%[1]d", users["alice"])
	}
	return "--writable"
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// try runs a command in the cluster, with a limit that only a hang reaches.
func (m *mpiCluster) try(user string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := pace.Context(context.Background(), 2*time.Minute)
	defer cancel()
	var out, bad bytes.Buffer
	cmd := m.command(ctx, user, args...)
	cmd.Stdout, cmd.Stderr = &out, &bad
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("hangs: %w", context.Cause(ctx))
	}
	return out.String(), bad.String(), err
}

func (m *mpiCluster) inside(t *testing.T, user string, args ...string) string {
	t.Helper()
	out, bad, err := m.try(user, args...)
	if err != nil {
		t.Fatalf("%q: %v\n%s%s", args, err, out, bad)
	}
	return out + bad
}

// srun returns the command line of a step in the allocation.
func (m *mpiCluster) srun(mpi string, nodes, ranks int, container bool, program string, args ...string) []string {
	all := []string{
		"srun", "--jobid", m.job, "--overlap", "--mpi", mpi, "--kill-on-bad-exit=1", "--time=1",
		"--nodes", strconv.Itoa(nodes), "--ntasks", strconv.Itoa(ranks), "--distribution=block",
	}
	if nodes > 1 {
		all = append(all, "--ntasks-per-node", strconv.Itoa(ranks/nodes))
	}
	if container {
		return append(append(all, "--container", m.container, "/opt/mpi/"+program), args...)
	}
	return append(append(all, mpiBare+"/"+program), args...)
}

// figures is the output of measure.
type figures struct {
	latency   float64 // one way, 8 bytes, in microseconds
	bandwidth float64 // one way, 4 MiB, in MiB per second
}

// measure runs measure.c, which checks all data, and reads its output.
func (m *mpiCluster) measure(mc mpiCase, container bool) (figures, error) {
	var f figures
	args := append([]string{"env"}, mc.environment()...)
	args = append(args, m.srun(mpiPMI[mc.mpi], mc.nodes, mc.ranks, container, "measure-"+mc.mpi)...)
	out, bad, err := m.try("alice", args...)
	if err != nil {
		return f, fmt.Errorf("%q: %w\n%s%s", args, err, out, bad)
	}
	if f, err = readFigures(out, mc.ranks); err != nil {
		err = fmt.Errorf("%q: %w%s", args, err, bad)
	}
	return f, err
}

// readFigures reads the output of measure.c.
func readFigures(out string, want int) (f figures, err error) {
	ranks := 0
	n, _ := fmt.Sscanf(out, "ranks %d\nring ok\nallreduce ok\nlatency %f\nbandwidth %f\n", &ranks, &f.latency, &f.bandwidth)
	if n != 3 || ranks != want || strings.Count(out, "\n") != 5 || f.latency <= 0 || f.bandwidth <= 0 {
		return f, fmt.Errorf("not the output of one program of %d ranks:\n%s", want, out)
	}
	return f, nil
}

// TestMPI runs Open MPI and MPICH bare and in containers, in one allocation.
func TestMPI(t *testing.T) {
	prepare(t)
	besideOthers(t)
	prepareColumn(t, column{runtime: "ocishim", slurm: "24.11"})
	mustRun(t, "hack/cluster", "root", "--slurm", "24.11", "--mpi")
	m := newMPICluster(t, "ocishim", "24.11")
	for _, mc := range selectedMPI(mpiCases) {
		t.Run(mc.String(), func(t *testing.T) { m.compare(t, mc) })
	}
	for _, tasks := range []int{2, 8} {
		t.Run(fmt.Sprintf("process_vm_readv_%d_tasks", tasks), func(t *testing.T) { m.readEachOther(t, tasks) })
	}
	if *flagFigures == "" {
		t.Run("image", func(t *testing.T) {
			m.container = m.imageOf(t, "alice", mpiBundle, "sqfs")
			for _, mc := range selectedMPI(mpiCases) {
				if mc.nodes > 1 || pace.All() {
					t.Run(mc.String(), func(t *testing.T) { m.compare(t, mc) })
				}
			}
			m.readEachOther(t, 8)
		})
		return
	}
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) { compareOther(t, runtime) })
	}
	if err := writeFigures(*flagFigures); err != nil {
		t.Error(err)
	}
}

// slower is the limit for how much longer a small message may take in a container, beyond what a
// busy machine causes: ranks in separate namespaces take 40 times as long.
const slower = 10

// compare requires right results. It compares the time of a small message only if each rank has a
// processor.
func (m *mpiCluster) compare(t *testing.T, mc mpiCase) {
	c := comparison{mpiCase: mc, runtime: m.runtime}
	if err := c.run(m); err != nil {
		t.Fatal(err)
	}
	t.Logf("bare %v, in a container %v (microseconds, MiB/s)", c.bare, c.inside)
	if a, b := least(c.bare), least(c.inside); mc.ranks == 2 && b > slower*a {
		t.Errorf("a small message takes %.2f microseconds at best, %.2f bare", b, a)
	}
	comparisons = append(comparisons, c)
}

func least(all []figures) float64 {
	best := all[0].latency
	for _, f := range all {
		best = min(best, f.latency)
	}
	return best
}

var cmaLine = regexp.MustCompile(`(?m)^task \d+ read task \d+ in (user:\[\d+\])$`)

// readEachOther lets the tasks of a step on one compute node read each other's memory, without MPI,
// and checks their user namespaces.
func (m *mpiCluster) readEachOther(t *testing.T, tasks int) {
	namespace := map[bool]string{}
	for _, container := range []bool{false, true} {
		out := m.inside(t, "alice", m.srun("none", 1, tasks, container, "cma", "/tmp")...)
		said := cmaLine.FindAllStringSubmatch(out, -1)
		if len(said) != tasks {
			t.Fatalf("%d of %d tasks have read another's memory:\n%s", len(said), tasks, out)
		}
		for _, line := range said {
			if namespace[container] == "" {
				namespace[container] = line[1]
			}
			if line[1] != namespace[container] {
				t.Errorf("the tasks are in several user namespaces:\n%s", out)
			}
		}
	}
	if namespace[true] == namespace[false] {
		t.Errorf("the containers are in the node's own user namespace %s", namespace[true])
	}
}
