//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

const nodes = 3

// skip skips a test that cannot run here. On CI that is a failure, so that nothing is skipped
// unnoticed.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("cannot run: %s", why)
	}
	t.Skip(why)
}

// prepare makes what all columns share.
func prepare(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "clusters need root")
	}
	if err := takeTurn(); err != nil {
		t.Fatal(err)
	}
}

// besideOthers lets the test run at the same time as others that call it, each in clusters of its
// own: they mostly wait, for Slurm and for daemons. What measures runs alone.
func besideOthers(t *testing.T) {
	if *flagFigures == "" && *flagScrunReport == "" && *flagReport == "" {
		t.Parallel()
	}
}

// takeTurn waits, once, for another run of these tests on this machine, and makes the bundle that
// they use. Both runs would use clusters with the same names, by which a run finds and replaces what
// a killed one has left. The lock is held until this process ends.
var takeTurn = sync.OnceValue(func() error {
	const path = "/run/ocishim-integration.lock"
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	heldLock = lock
	fd := int(lock.Fd())
	if syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		fmt.Fprintln(os.Stderr, "waiting for another run of the integration tests ("+path+")")
		if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
			return fmt.Errorf("lock %s: %w", path, err)
		}
	}
	cmd := exec.Command(filepath.Join(repo, "hack/bundle"), sourceBundle)
	cmd.Dir = repo
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("hack/bundle: %w: %s", err, out)
	}
	return nil
})

// heldLock keeps the lock from being closed.
var heldLock *os.File

// prepareColumn makes what one column needs.
func prepareColumn(t *testing.T, col column) {
	if col.runtime == "ocishim" {
		if _, err := os.Stat(filepath.Join(repo, "build/bin/ocishim")); err != nil {
			skip(t, "build/bin/ocishim is missing: run make build")
		}
	}
	mustRun(t, "hack/cluster", "root", "--slurm", col.slurm)
}

// sourceBundle is the bundle that every test copies.
const sourceBundle = "build/test-bundle"

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(repo, name), args...)
	cmd.Dir = repo
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// cluster is one cluster of hack/cluster.
type cluster struct {
	column
	name string
	oci  string   // the oci.conf
	view string   // the visible cgroups; empty for the default of hack/cluster
	mpi  bool     // with Open MPI and MPICH
	conf []string // more lines of slurm.conf
	etc  []string // more files of its directory
	gpus int      // fake GPUs of each compute node

	driver string // of these GPUs
	// constrain makes Slurm deny GPUs that do not belong to the step.
	constrain bool
	memory    int    // MB of each compute node, which limits jobs; 0 for all there is
	root      string // the cluster's / as this process sees it
}

func newCluster(t *testing.T, col column, which string) *cluster {
	c := &cluster{column: col}
	c.name = strings.NewReplacer(".", "", " ", "-").Replace("it-" + col.String() + "-" + which)
	c.oci = filepath.Join(t.TempDir(), "oci.conf")
	conf, err := ociConf(col)
	if err == nil {
		err = os.WriteFile(c.oci, []byte(conf), 0o644)
	}
	if err == nil {
		err = c.namespacesOf(t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// up starts the cluster, again if it runs already, and puts the users' bundles into it.
func (c *cluster) up(t *testing.T) {
	t.Helper()
	c.start(t, nodes)
	if err := c.makeBundles(); err != nil {
		t.Fatal(err)
	}
}

// start starts the cluster with n compute nodes, and nothing but Slurm.
func (c *cluster) start(t *testing.T, n int) {
	t.Helper()
	up := []string{"up", "--name", c.name, "--slurm", c.slurm, "--nodes", strconv.Itoa(n)}
	if c.oci != "" {
		up = append(up, "--oci", c.oci)
	}
	if c.view != "" {
		up = append(up, "--cgroup", c.view)
	}
	if c.mpi {
		up = append(up, "--mpi")
	}
	for _, line := range c.conf {
		up = append(up, "--conf", line)
	}
	for _, file := range c.etc {
		up = append(up, "--etc", file)
	}
	if c.gpus > 0 {
		up = append(up, "--gpus", strconv.Itoa(c.gpus), "--driver", c.driver)
	}
	if c.constrain {
		up = append(up, "--constrain")
	}
	if c.memory > 0 {
		up = append(up, "--memory", strconv.Itoa(c.memory))
	}
	mustRun(t, "hack/cluster", up...)
	pid := strings.TrimSpace(mustRun(t, "hack/cluster", "pid", "--name", c.name))
	c.root = "/proc/" + pid + "/root"
}

func (c *cluster) down() {
	cmd := exec.Command(filepath.Join(repo, "hack/cluster"), "down", "--name", c.name)
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v: %s\n", c.name, err, out)
	}
}

// command returns a command that runs inside as user; killing it kills what it started.
func (c *cluster) command(ctx context.Context, user string, args ...string) *exec.Cmd {
	all := append([]string{"exec", "--name", c.name, "--user", user, "--"}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(repo, "hack/cluster"), all...)
	cmd.WaitDelay = pace.Of(time.Second)
	return cmd
}

// asRoot runs a command inside and returns its output.
func (c *cluster) asRoot(args ...string) (string, error) {
	ctx, cancel := pace.Context(context.Background(), 10*time.Second)
	defer cancel()
	var out bytes.Buffer
	cmd := c.command(ctx, "root", args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
