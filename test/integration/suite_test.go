//go:build integration

// Package integration runs one table of scenarios on real Slurm clusters: what a user types,
// what they must see, and that nothing is left behind.
//
//	go test -tags integration ./test/integration
//	go test -tags integration ./test/integration -args -runtime ocishim,runc,crun -slurm 24.11 -mode run,create -report table.md
//
// It needs root, Slurm on this machine (hack/deps test) and build/bin/ocishim.
package integration

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

var (
	flagRuntime = flag.String("runtime", "", "ocishim, runc, crun: which to run (comma separated; default: ocishim)")
	flagSlurm   = flag.String("slurm", "", "26.05, 24.11, 22.05 (comma separated; default: see defaultColumns)")
	flagMode    = flag.String("mode", "", "run (by exec), run-sh (as in Slurm's documentation), oci (run, with the profile oci), create (comma separated)")
	flagReport  = flag.String("report", "", "write the table, in markdown, to this file")
)

// column is one way of running the table.
type column struct {
	runtime, slurm, mode string
	namespaces           string // the namespaces that each job has of its own: see namespacesOf
	short                bool   // only the scenarios marked short
}

func (c column) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.runtime, c.slurm, c.mode, c.namespaces))
}

// defaultColumns is what runs without flags: what we promise.
var defaultColumns = []column{
	{runtime: "ocishim", slurm: "24.11", mode: "run"},
	{runtime: "ocishim", slurm: "24.11", mode: "oci"},
	{runtime: "ocishim", slurm: "24.11", mode: "create"},
	{runtime: "ocishim", slurm: "22.05", mode: "run"},
	{runtime: "ocishim", slurm: "24.11", mode: "run-sh", short: true},
	{runtime: "ocishim", slurm: "26.05", mode: "run"},
	{runtime: "ocishim", slurm: "26.05", mode: "oci"},
	{runtime: "ocishim", slurm: "26.05", mode: "create"},
	{runtime: "ocishim", slurm: "26.05", mode: "run", namespaces: "user"},
	{runtime: "ocishim", slurm: "26.05", mode: "run", namespaces: "mount", short: true},
	{runtime: "ocishim", slurm: "26.05", mode: "run", namespaces: "pid", short: true},
	{runtime: "ocishim", slurm: "26.05", mode: "create", namespaces: "user", short: true},
}

func columns() []column {
	if *flagRuntime == "" && *flagSlurm == "" && *flagMode == "" {
		return selected(defaultColumns)
	}
	var all []column
	for _, slurm := range listOr(*flagSlurm, "24.11") {
		for _, mode := range listOr(*flagMode, "run") {
			for _, runtime := range listOr(*flagRuntime, "ocishim") {
				all = append(all, column{runtime: runtime, slurm: slurm, mode: mode})
			}
		}
	}
	return all
}

func listOr(flag, fallback string) []string {
	if flag == "" {
		flag = fallback
	}
	return strings.Split(flag, ",")
}

// scenario is one row of the table.
type scenario struct {
	name  string
	limit time.Duration // after this time the scenario counts as hung; 0 is 20 s
	short bool          // also in the short selection
	noisy bool          // the user's output may contain error messages
	apart bool          // takes long and mostly waits: runs on a separate cluster, beside the others
	run   func(*session)
}

// scenarios is the table, in order.
func scenarios() []scenario {
	var all []scenario
	for _, group := range [][]scenario{
		exitScenarios, streamScenarios, placeScenarios, terminalScenarios, batchScenarios,
		signalScenarios, inputScenarios, crashScenarios,
	} {
		all = append(all, group...)
	}
	return all
}

// repo is the root of the repository.
var repo = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

func TestMain(m *testing.M) {
	pace.MoreAtOnce()
	flag.Parse()
	pace.UsualSignals()
	fmt.Println(pace.String())
	if err := os.Setenv(pace.Variable, strconv.Itoa(paceOfScripts())); err != nil {
		panic(err)
	}
	code := m.Run()
	if *flagReport != "" {
		if err := writeReport(*flagReport); err != nil {
			fmt.Fprintln(os.Stderr, "report:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// paceOfScripts is how many times longer than on a quick machine scripts and the clusters' Slurm
// wait. The first measurement counts for all of them.
var paceOfScripts = sync.OnceValue(func() int { return int(math.Ceil(pace.Factor())) })

// shellPace begins a script that waits: PACE is how many times longer than on a quick machine, and
// QUIET the seconds after which anything that happens at once has happened.
func shellPace() string {
	return fmt.Sprintf("PACE=%d QUIET=%s\n", paceOfScripts(), pace.Seconds(500*time.Millisecond))
}

// patience returns a number of seconds, scaled in this way, for an option.
func patience(seconds int) string { return strconv.Itoa(seconds * paceOfScripts()) }

// TestSlurm runs the whole table in each column.
func TestSlurm(t *testing.T) {
	prepare(t)
	besideOthers(t)
	for _, col := range columns() {
		t.Run(strings.ReplaceAll(col.String(), " ", "_"), func(t *testing.T) {
			prepareColumn(t, col)
			t.Parallel()
			runColumn(t, col)
		})
	}
}

func runColumn(t *testing.T, col column) {
	var table, apart []scenario
	for _, sc := range scenarios() {
		switch {
		case col.short && !sc.short:
		case sc.apart:
			apart = append(apart, sc)
		default:
			table = append(table, sc)
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, sc := range apart {
		wg.Add(1)
		go func() {
			defer wg.Done()
			runTable(t, col, fmt.Sprintf("apart%d", i), []scenario{sc})
		}()
	}
	runTable(t, col, "table", table)
}

// runTable runs scenarios one after the other on one cluster. It restarts the cluster after a
// scenario that left something behind: each starts on a clean cluster.
func runTable(t *testing.T, col column, which string, table []scenario) {
	if len(table) == 0 {
		return
	}
	c := newCluster(t, col, which)
	defer c.down()
	clean := false
	for _, sc := range table {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			if !clean {
				c.up(t)
			}
			var out outcome
			out, clean = runScenario(c, sc)
			record(col, sc, out)
			t.Logf("%s (%.1fs)", out.cell, out.took.Seconds())
			if out.bad && col.runtime == "ocishim" {
				t.Errorf("%s\n%s", out.cell, out.detail)
			} else if out.bad {
				t.Log(out.detail)
			}
		})
	}
}

// outcome is a cell of the table.
type outcome struct {
	cell   string
	detail string // for the log, if it is bad
	bad    bool
	took   time.Duration
}

// runScenario also reports whether it left the cluster clean.
func runScenario(c *cluster, sc scenario) (out outcome, clean bool) {
	limit := sc.limit
	if limit == 0 {
		limit = 20 * time.Second
	}
	start := time.Now()
	ctx, cancel := pace.Context(context.Background(), limit)
	defer cancel()
	s := newSession(ctx, c)
	out = s.judge(sc.run)
	out.took = time.Since(start)
	kind, left := s.leftovers()
	noise := ""
	if !sc.noisy {
		noise = s.noise()
	}
	switch {
	case out.bad && kind != "":
		out.cell += "; leaves a " + kind
	case kind != "":
		out.cell, out.bad = "leaves a "+kind, true
	case !out.bad && noise != "":
		out.cell, out.bad = "noise in the output", true
	}
	if out.bad {
		out.detail = fmt.Sprintf("%s\nleft behind: %s %s\nnoise: %s\n%s", out.detail, kind, left, noise, s.transcript())
	}
	return out, kind == ""
}
