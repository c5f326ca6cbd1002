//go:build integration

package integration

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var (
	flagFigures = flag.String("figures", "", "TestMPI: also measure with runc and crun, and write all, in markdown, to this file")
	flagRepeats = flag.Int("repeats", 0, "TestMPI: how often each program is measured, bare and in a container in turn (default: 3 with two ranks, otherwise 1)")
)

// comparison is a program measured bare and in containers, in turn: each run in a container has a
// bare run before and after it.
type comparison struct {
	mpiCase
	runtime      string
	bare, inside []figures // bare has two for each one inside
	failed       string    // in a container, in a few words
}

// comparisons are all comparisons of this run.
var comparisons []comparison

// run measures. It returns the error of the first program that fails or gets wrong data.
func (c *comparison) run(m *mpiCluster) error {
	repeats := *flagRepeats
	switch {
	case repeats > 0:
	case c.ranks == 2:
		repeats = 3
	default:
		repeats = 1
	}
	for range repeats {
		err := c.once(
			func() (figures, error) { return m.measure(c.mpiCase, false) },
			func() (figures, error) { return m.measure(c.mpiCase, true) },
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// once measures bare, in a container, and bare again.
func (c *comparison) once(bare, inside func() (figures, error)) error {
	before, err := bare()
	if err != nil {
		return fmt.Errorf("bare: %w", err)
	}
	f, err := inside()
	if err != nil {
		c.failed = inFewWords(err)
		return fmt.Errorf("in a container: %w", err)
	}
	after, err := bare()
	if err != nil {
		return fmt.Errorf("bare: %w", err)
	}
	c.bare, c.inside = append(c.bare, before, after), append(c.inside, f)
	return nil
}

func inFewWords(err error) string {
	text := err.Error()
	for _, known := range []struct{ said, words string }{
		{"DUE TO TIME LIMIT", "hangs"},
		{"hangs", "hangs"},
		{"1 rank: at least 2", "ranks do not find each other"},
		{"PMIU_write error", "PMI's socket is closed"},
		{"Segmentation fault", "crashes"},
		{"PMIX ERROR", "PMIx fails"},
	} {
		if strings.Contains(text, known.said) {
			return known.words
		}
	}
	return "fails"
}

// compareOther measures two ranks on a compute node with another runtime. If that does not work, it
// is a result and not a failure of this test.
func compareOther(t *testing.T, runtime string) {
	m := newMPICluster(t, runtime, "24.11")
	for _, mc := range mpiCases {
		if mc.ranks > 2 {
			continue
		}
		c := comparison{mpiCase: mc, runtime: runtime}
		if err := c.run(m); err != nil {
			t.Log(err)
		}
		comparisons = append(comparisons, c)
	}
}

// writeFigures writes a row for each comparison: the medians, the median of the ratios to the bare
// runs around it, and for the noise the quartiles of the ratios of the two bare runs.
func writeFigures(path string) error {
	var b strings.Builder
	fmt.Fprintln(&b, "| MPI, runtime | nodes | ranks | 8 bytes: bare, µs | in a container | ratio | bare to bare "+
		"| 4 MiB: bare, MiB/s | in a container | ratio | bare to bare |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|---|")
	names := map[string]string{"openmpi": "Open MPI", "mpich": "MPICH"}
	for _, c := range comparisons {
		fmt.Fprintf(&b, "| %s, %s | %d | %d |", names[c.mpi], c.runtime, c.nodes, c.ranks)
		if c.failed != "" {
			fmt.Fprintf(&b, " | %s | | | | %s | | |\n", c.failed, c.failed)
			continue
		}
		fmt.Fprintf(&b, " %.2f | %.2f | %.2f | %s |", median(c.bare, latency), median(c.inside, latency), c.ratio(latency), c.noise(latency))
		fmt.Fprintf(&b, " %.0f | %.0f | %.2f | %s |\n", median(c.bare, bandwidth), median(c.inside, bandwidth), c.ratio(bandwidth), c.noise(bandwidth))
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func latency(f figures) float64   { return f.latency }
func bandwidth(f figures) float64 { return f.bandwidth }

func (c *comparison) ratio(of func(figures) float64) float64 {
	var ratios []float64
	for i := range c.inside {
		ratios = append(ratios, 2*of(c.inside[i])/(of(c.bare[2*i])+of(c.bare[2*i+1])))
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// noise shows how far apart two bare runs of the same program are.
func (c *comparison) noise(of func(figures) float64) string {
	var ratios []float64
	for i := range c.inside {
		ratios = append(ratios, of(c.bare[2*i+1])/of(c.bare[2*i]))
	}
	slices.Sort(ratios)
	return fmt.Sprintf("%.2f–%.2f", ratios[len(ratios)/4], ratios[len(ratios)*3/4])
}

func median[T any](all []T, of func(T) float64) float64 {
	var values []float64
	for _, v := range all {
		values = append(values, of(v))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
