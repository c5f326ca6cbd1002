//go:build integration

package integration

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// checkThreeNodes runs each MPI of the site with a rank on each compute node.
func (m *matrix) checkThreeNodes(t *testing.T) {
	for mpi, flavour := range mpiPMI {
		c := cell{"trixie", mpi, "trixie", mpi, flavour}
		m.configure(t, c.profile())
		if _, err := m.measureInside(c, flavour, mpiCase{mpi, 3, 3}); err != nil {
			t.Errorf("%s: %v", mpi, err)
		}
	}
}

// checkHints makes srun offer a PMI that the MPI does not use, to programs that others start, and
// to some that do not use MPI.
func (m *matrix) checkHints(t *testing.T) {
	c := cell{"trixie", "mpich", "bookworm", "mpich", "pmix"}
	for _, profile := range []string{c.profile(), ""} {
		m.configure(t, profile)
		for program, want := range map[string]string{
			"/opt/mpi/which-static":                    "MPICH (which-static) needs PMI2",
			"sh -c /opt/mpi/which-mpich":               "MPICH (libmpich.so.12",
			"env A=b sh -c exec\t/opt/mpi/which-mpich": "MPICH (libmpich.so.12",
			"sh -c hostname":                           "",
			"env hostname":                             "",
		} {
			out, bad, _ := m.run(c, "pmix", 1, 2, strings.Fields(strings.ReplaceAll(program, "\t", " "))...)
			hint := "ocishim: hint: this step offers PMIx, and " + want
			if hints := strings.Count(bad, "ocishim: hint: "); want == "" && hints > 0 || want != "" && (hints != 1 || !strings.Contains(bad, hint)) {
				t.Errorf("%s, with profile %q: %d hints:\n%s%s", program, profile, hints, out, bad)
			}
		}
	}
}

// checkDrivers looks in the container for Debian's verbs drivers, most of which are links to
// libraries. Each is at the path that libibverbs will open, with everything that it needs.
func (m *matrix) checkDrivers(t *testing.T) {
	c := cell{"trixie", "mpich", "trixie", "mpich", "pmi2"}
	m.configure(t, c.profile())
	const script = `IFS=:; for driver in $IBV_DRIVERS; do ldd "$driver-rdmav34.so" || echo "not found: $driver"; echo "driver ${driver##*/}"; done`
	out, bad, err := m.run(c, "pmi2", 1, 1, "sh", "-c", script)
	if err != nil || strings.Contains(out, "not found") || !strings.Contains(out, "driver libmlx5\n") || !strings.Contains(out, "driver libefa\n") || !strings.Contains(out, "driver librxe\n") {
		t.Errorf("%v\n%s%s", err, out, bad)
	}
}

// endedKilled is Slurm's message. The status is the highest of the tasks': 137 for one that was
// killed, 143 for those that Slurm ended.
var endedKilled = regexp.MustCompile(`(?m)^srun: error: n2: tasks? (2-)?3: Killed$`)

// checkKilled kills a rank, before it knows the others and while they wait for it: the step ends
// with Slurm's message, and nothing remains.
func (m *matrix) checkKilled(t *testing.T) {
	for name, test := range map[string]struct {
		mpi     string
		command []string
	}{
		"MPICH, before MPI_Init": {"mpich", []string{"sh", "-c", "if [ $SLURM_PROCID = 3 ]; then kill -KILL $$; fi; exec /opt/mpi/measure-mpich"}},
		"MPICH":                  {"mpich", []string{"/opt/mpi/which-mpich", "3"}},
		"Open MPI":               {"openmpi", []string{"/opt/mpi/which-openmpi", "3"}},
	} {
		c := cell{"trixie", test.mpi, "trixie", test.mpi, mpiPMI[test.mpi]}
		m.configure(t, c.profile())
		// From here on, findings about the program are cached.
		if out, bad, err := m.run(c, c.flavour, 3, 6, "/opt/mpi/which-"+test.mpi); err != nil {
			t.Errorf("%s: nobody is killed: %v\n%s%s", name, err, out, bad)
		}
		if test.command[0] == "sh" {
			_, _, _ = m.run(c, c.flavour, 1, 1, "sh", "-c", "true")
		}
		before := m.settled(nil)
		began := time.Now()
		out, bad, err := m.run(c, c.flavour, 3, 6, test.command...)
		if err == nil || !endedKilled.MatchString(bad) {
			t.Errorf("%s: the step ends with %v, and srun says:\n%s", name, err, bad)
		}
		if test.command[0] != "sh" && !strings.Contains(out, "ranks 6\n") {
			t.Errorf("%s: it was not running:\n%s", name, out)
		}
		if took := time.Since(began); took > pace.Of(20*time.Second) {
			t.Errorf("%s: the step ends after %v", name, took)
		}
		if after := m.settled(before); !slices.Equal(before, after) {
			t.Errorf("%s: before\n%s\nafter\n%s", name, strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
	}
}

// settled returns the cluster's processes of alice, Slurm's steps, mounts, and state files, once
// they are as wanted; nil for wanted means that everything of the step has ended.
func (m *matrix) settled(want []string) (now []string) {
	const patience = 20 * time.Second // Slurm's own time, on a busy machine
	pace.Until(patience, func() bool {
		now = m.standing()
		busy := slices.ContainsFunc(now, func(s string) bool { return strings.HasPrefix(s, "process ") || strings.Contains(s, "oci-job") })
		return want == nil && !busy || want != nil && slices.Equal(now, want)
	})
	return now
}

func (m *matrix) standing() (all []string) {
	for _, p := range m.processes() {
		if p.uid == fmt.Sprint(users["alice"]) && p.state != "Z" || strings.HasPrefix(p.cmdline, "slurmstepd: [") {
			all = append(all, "process "+p.cmdline)
		}
	}
	s := &session{cluster: m.cluster}
	all = append(all, "mount "+s.leftMount(), "cgroup "+s.leftCgroup())
	for _, pattern := range []string{"/var/spool/slurmd/*/oci-job*", "/run/ocishim/*/*", "/run/user/*/*/*", "/tmp/ocishim-*/*"} {
		found, _ := filepath.Glob(m.onHost(pattern))
		for _, file := range found {
			all = append(all, strings.TrimPrefix(file, m.root))
		}
	}
	slices.Sort(all)
	return all
}
