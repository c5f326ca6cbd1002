//go:build integration

package integration

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checkTorch reads what torch.distributed would read, on two compute nodes.
func (m *matrix) checkTorch(t *testing.T) {
	m.configure(t, "hpc.edits = ['torch']\n")
	c := cell{image: "trixie"}
	out, bad, err := m.run(c, "none", 3, 3, "sh", "-c", "echo $MASTER_ADDR $WORLD_SIZE $RANK $LOCAL_RANK port $MASTER_PORT")
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, bad)
	}
	port := regexp.MustCompile(`port (\d+)`).FindString(out)
	for rank := range 3 {
		if line := fmt.Sprintf("n1 3 %d 0 %s\n", rank, port); port == "" || !strings.Contains(out, line) {
			t.Errorf("no line %q in\n%s", line, out)
		}
	}
}

// checkSlurm calls Slurm's commands in an image without Slurm, and in one that has its own without
// a configuration. An image that is too old gets no commands.
func (m *matrix) checkSlurm(t *testing.T) {
	m.configure(t, "hpc.edits = ['slurm']\n")
	copyFile(t, filepath.Join(repo, "hack/bundle"), m.onHost("/opt/bundle"))
	m.inside(t, "root", "bash", "/opt/bundle", "--with", debianLib+"libresolv.so.2", "--with", debianLib+"libm.so.6", "/home/alice/small")
	const script = `set -e
		squeue --noheader --format=%i-%u --jobs=$SLURM_JOB_ID
		scontrol show hostnames 'n[1-2]'
		srun --overlap --nodes=1 --ntasks=2 sh -c 'echo nested $SLURM_STEP_ID.$SLURM_PROCID'
		echo outer $SLURM_STEP_ID`
	nested := regexp.MustCompile(`(?m)^nested (\d+)\.[01]$`)
	for _, image := range []string{"small", "trixie"} {
		out, bad, err := m.run(cell{image: image}, "none", 1, 1, "sh", "-c", script)
		said := nested.FindAllStringSubmatch(out, -1)
		if err != nil || !strings.Contains(out, m.job+"-alice\n") || !strings.Contains(out, "n1\nn2\n") || len(said) != 2 || strings.Contains(out, "outer "+said[0][1]+"\n") {
			t.Errorf("%s: %v\n%s%s", image, err, out, bad)
		}
	}
	out, bad, err := m.run(cell{image: "bookworm"}, "none", 1, 1, "echo", "runs")
	if err != nil || out != "runs\n" || !strings.Contains(bad, "ocishim: warning: Slurm's commands are not in the container: slurm: the host's /usr/bin/srun needs GLIBC_2.38") {
		t.Errorf("bookworm: %v\n%s%s", err, out, bad)
	}
}

// checkMunge lets a program of the image ask the host's munged for its identity.
func (m *matrix) checkMunge(t *testing.T) {
	c := cell{image: "trixie"}
	m.configure(t, "")
	if out, _, err := m.run(c, "none", 1, 1, "munge", "-n"); err == nil {
		t.Errorf("without the socket: %s", out)
	}
	m.configure(t, "hpc.edits = ['munge']\n")
	out, bad, err := m.run(c, "none", 1, 1, "munge", "-n")
	if err != nil || !strings.HasPrefix(out, "MUNGE:") {
		t.Fatalf("%v\n%s%s", err, out, bad)
	}
	said := m.inside(t, "root", "sh", "-c", "echo $1 | unmunge", "sh", strings.TrimSpace(out))
	if !regexp.MustCompile(fmt.Sprintf(`(?m)^UID: .*\(%d\)$`, users["alice"])).MatchString(said) {
		t.Errorf("munged has seen somebody else:\n%s", said)
	}
}

// checkExplained asks what a task would get, and whether the loader will find it.
func (m *matrix) checkExplained(t *testing.T) {
	c := cell{"trixie", "mpich", "bookworm", "mpich", "pmi2"}
	m.configure(t, c.profile())
	for form, want := range map[string]string{
		"1":      "mpi: mpi.mpich: the site's MPICH (libmpich.so.12.2.2), by PMI2, for the image's MPICH (libmpich.so.12.4.1)\n",
		"verify": "libmpich.so.12: /run/.ocishim/mpi/",
	} {
		args := m.srun("pmi2", 1, 1, false, "")
		args = append([]string{"env", "OCISHIM_EXPLAIN=" + form}, append(args[:len(args)-1], "--container", "/home/alice/trixie", "/opt/mpi/which-mpich")...)
		if out, bad, err := m.try("alice", args...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: no %q: %v\n%s%s", form, want, err, out, bad)
		}
	}
	args := m.srun("pmix", 1, 1, false, "")
	args = append([]string{"env", "OCISHIM_EXPLAIN=1"}, append(args[:len(args)-1], "--container", "/home/alice/trixie", "/opt/mpi/which-openmpi")...)
	const own = "mpi: the image's own Open MPI 5.0 (libmpi.so.40.40.7): no profile of the site matches it\n"
	if out, bad, err := m.try("alice", args...); err != nil || !strings.Contains(out, own) {
		t.Errorf("no %q: %v\n%s%s", own, err, out, bad)
	}
}

// checkDetected uses the output of mpi detect on the compute node as the site's configuration.
func (m *matrix) checkDetected(t *testing.T) {
	m.configure(t, m.inside(t, "root", "/usr/local/bin/ocishim", "mpi", "detect"))
	for mpi, flavour := range mpiPMI {
		c := cell{"trixie", mpi, "trixie", mpi, flavour}
		out, bad, err := m.run(c, flavour, 1, 2, "/opt/mpi/which-"+mpi)
		if found, _ := m.outcome(t, c, out, bad, err); found != sitesMPI || !strings.Contains(out, "ranks 2\n") {
			t.Errorf("%s by what was detected runs on %s: %v\n%s%s", mpi, found, err, out, bad)
		}
	}
}
