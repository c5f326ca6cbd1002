//go:build integration

package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// A row is the result of a cell.
type row struct {
	cell
	outcome, why string
	works        bool
	measured     []comparison
}

// compareWithBare measures the program in the container, on the site's MPI, and the same MPI's
// program bare. It requires right results, and reports figures if they are asked for.
func (m *matrix) compareWithBare(t *testing.T, r *row) {
	shapes := []mpiCase{{r.mpi, 1, 2}}
	if *flagFigures != "" {
		shapes = append(shapes, mpiCase{r.mpi, 1, 8})
	}
	// Between compute nodes Debian 12's MPICH, with UCX 1.13 on TCP, often hangs at its end, even
	// bare.
	if *flagFigures != "" && (r.mpi != "mpich" || r.siteSuite != "bookworm") {
		shapes = append(shapes, mpiCase{r.mpi, 3, 3}, mpiCase{r.mpi, 3, 6})
	}
	repeats := max(1, *flagRepeats)
	for _, shape := range shapes {
		c := comparison{mpiCase: shape}
		for range repeats {
			err := c.once(
				func() (figures, error) { return m.measureBare(r.cell, shape) },
				func() (figures, error) { return m.measureInside(r.cell, r.flavour, shape) },
			)
			if err != nil {
				t.Fatalf("%v: %v", shape, err)
			}
		}
		if a, b := least(c.bare), least(c.inside); shape.ranks == 2 && b > slower*a {
			t.Errorf("a small message takes %.2f microseconds at best, %.2f bare", b, a)
		}
		r.measured = append(r.measured, c)
	}
}

func (m *matrix) measureInside(c cell, flavour string, shape mpiCase) (figures, error) {
	out, bad, err := m.run(c, flavour, shape.nodes, shape.ranks, "/opt/mpi/measure-"+c.mpi)
	if err != nil {
		return figures{}, fmt.Errorf("%w\n%s%s", err, out, bad)
	}
	return readFigures(out, shape.ranks)
}

// measureBare runs the program of the site's suite directly on the compute node.
func (m *matrix) measureBare(c cell, shape mpiCase) (figures, error) {
	env := append([]string{"env"}, shape.environment()...)
	if c.siteSuite == "bookworm" {
		env = append(env, "LD_LIBRARY_PATH=/opt/site-libraries", "OPAL_PREFIX=/opt/site", "PMIX_INSTALL_PREFIX=/opt/site/lib/x86_64-linux-gnu/pmix2")
	}
	args := m.srun(mpiPMI[c.mpi], shape.nodes, shape.ranks, false, "")
	args = append(args[:len(args)-1], append(env, fmt.Sprintf("/home/alice/bare-%s/measure-%s", c.siteSuite, c.mpi))...)
	out, bad, err := m.try("alice", args...)
	if err != nil {
		return figures{}, fmt.Errorf("%q: %w\n%s%s", args, err, out, bad)
	}
	return readFigures(out, shape.ranks)
}

var mpiNames = map[string]string{"openmpi": "Open MPI", "mpich": "MPICH"}

// String returns the row of the table.
func (r row) String() string {
	result := r.outcome
	switch {
	case r.outcome == refused:
		result += ": " + r.why
	case !r.works:
		result += "; ranks do not find each other, with a hint"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| %s, %s | %s, %s | %s | %s |", mpiNames[r.mpi], r.image, mpiNames[r.siteMPI], r.siteSuite, r.flavour, result)
	var small, large []string
	for _, c := range r.measured {
		small = append(small, fmt.Sprintf("%.2f", c.ratio(latency)))
		large = append(large, fmt.Sprintf("%.2f", c.ratio(bandwidth)))
	}
	fmt.Fprintf(&b, " %s | %s |", strings.Join(small, " "), strings.Join(large, " "))
	return b.String()
}

// write writes the matrix.
func (m *matrix) write(path string) error {
	var b strings.Builder
	fmt.Fprintln(&b, "| image | site | `--mpi` | the program runs on | 8 bytes, ratio to bare | 4 MiB, ratio to bare |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|")
	for _, r := range m.rows {
		fmt.Fprintln(&b, r)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
