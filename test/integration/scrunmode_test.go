//go:build integration

package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

var flagScrunReport = flag.String("scrun-report", "", "also run the table of TestScrunMode with Slurm's scrun, and write it, in markdown, to this file")

// scrunModeSetup makes ocishim, called as scrun, Podman's runtime.
const scrunModeSetup = `set -e
ln -sfn /usr/local/bin/ocishim /usr/local/bin/scrun
sed -i 's/^runtime=.*/runtime="scrun"/; s|^ocishim=.*|scrun=["/usr/local/bin/scrun"]|' /etc/containers/containers.conf
mkdir -p /etc/ocishim
`

// scrunColumn is one scrun under Podman.
type scrunColumn struct {
	name  string // in the table
	place string
	setup string
	ours  bool
	slurm string
}

var scrunColumns = []scrunColumn{
	{"ocishim as scrun", "it-scrunmode", scrunModeSetup, true, "24.11"},
	{"Slurm's scrun 24.11", "it-scrunreal", scrunSetup, false, "24.11"},
}

// scrunOn2605 is not in the table of docs/scrun.md.
var scrunOn2605 = scrunColumn{"ocishim as scrun, 26.05", "it-scrunmode-2605", scrunModeSetup, true, "26.05"}

// scrunTable is what people do with Podman, as far as a job supports it, and what they do with
// jobs.
func scrunTable() []podmanScenario {
	named := func(all []podmanScenario, names ...string) []podmanScenario {
		var found []podmanScenario
		for _, sc := range all {
			if slices.Contains(names, sc.name) {
				found = append(found, sc)
			}
		}
		if len(found) != len(names) {
			panic(fmt.Sprint("no such scenarios among ", names))
		}
		return found
	}
	return slices.Concat(
		named(podmanRunScenarios, "output and exit status", "not to be started", "stdin through pipes", "twenty at once"),
		named(podmanTerminalScenarios, "-it", "exec -it", "exec -it of a container with a terminal", "Ctrl-C without -t", "attach and detach"),
		named(podmanLifeScenarios, "logs and wait", "create, start, restart", "kill by signal", "stop, TERM handled", "stop, TERM ignored",
			"rm of a running container", "restart policy", "healthcheck", "rename"),
		named(podmanExecScenarios, "exec: output and exit status", "exec: detached", "exec: many at once"),
		scrunRunScenarios, scrunJobScenarios, scrunFaultScenarios,
	)
}

// oursOnly are scenarios that Slurm's scrun does not claim to support, or about processes that it
// does not have.
var oursOnly = []string{
	"exec into the container", "given up while pending", "annotations", "the site's options", "no program of the host by an image", "a volume that is not shared", "staging by sbcast",
	"staging by the site's program", "staging by rsync", "bundles elsewhere", "disk full while staging", "salloc and srun killed", "fifty at once, and their memory",
}

// TestScrunMode runs containers with rootless Podman as Slurm jobs: through ocishim called as scrun
// and, for the table in docs/scrun.md, through Slurm's own scrun.
func TestScrunMode(t *testing.T) {
	prepare(t)
	besideOthers(t)
	mustRun(t, "hack/cluster", "root", "--slurm", "24.11")
	cells := map[string]map[string]string{}
	for _, col := range scrunColumns {
		if !col.ours && *flagScrunReport == "" {
			continue
		}
		cells[col.name] = map[string]string{}
		t.Run(col.place, func(t *testing.T) { runScrunColumn(t, col, cells[col.name]) })
	}
	if pace.All() {
		mustRun(t, "hack/cluster", "root", "--slurm", scrunOn2605.slurm)
		t.Run(scrunOn2605.place, func(t *testing.T) { runScrunColumn(t, scrunOn2605, map[string]string{}) })
	}
	if *flagScrunReport != "" {
		if err := writeScrunReport(*flagScrunReport, cells); err != nil {
			t.Error(err)
		}
	}
}

func runScrunColumn(t *testing.T, col scrunColumn, cells map[string]string) {
	place := newPodmanPlace(col.slurm, "alice", "")
	place.name, place.oci = col.place, filepath.Join(repo, "oci.conf.d/run.conf")
	place.conf = []string{"PreemptType=preempt/partition_prio", "PreemptMode=CANCEL", "PartitionName=high Nodes=ALL PriorityTier=10 State=UP"}
	defer place.down()
	clean := false
	for _, sc := range scrunTable() {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			if !col.ours && slices.Contains(oursOnly, sc.name) {
				t.Skip("Slurm's scrun does not have it")
			}
			if !clean {
				place.upAs(t, 2)
				if out, err := place.asRoot("sh", "-c", col.setup); err != nil {
					t.Fatalf("setup: %v: %s", err, out)
				}
			}
			start := time.Now()
			limit := max(time.Minute, time.Duration(rounds(0))*5*time.Second)
			if !col.ours {
				limit = 20 * time.Second // many of its scenarios hang
			}
			ctx, cancel := pace.Context(context.Background(), limit)
			defer cancel()
			p := &podman{session: newSession(ctx, place.cluster), user: place.user}
			before := place.census()
			out := p.judge(func(*session) { sc.run(p) })
			left := ""
			if col.ours || !out.bad { // otherwise the cluster is restarted, whatever is left
				place.clear()
				left = place.newSince(before) + p.jobsLeft()
			}
			clean = left == "" && col.ours
			cells[sc.name] = out.cell
			if left != "" {
				cells[sc.name] += ", leaves something behind"
			}
			t.Logf("%s (%.1fs) %s", cells[sc.name], time.Since(start).Seconds(), strings.Join(p.noted, "; "))
			if out.bad || left != "" {
				text := fmt.Sprintf("%s\n%s\nleft behind: %s\n%s", out.cell, out.detail, left, p.transcript())
				if col.ours {
					t.Error(text)
				} else {
					t.Log(text)
				}
			}
		})
	}
}

// jobsLeft returns jobs and states that do not disappear.
func (p *podman) jobsLeft() string {
	var left string
	if !pace.Until(settle, func() bool {
		jobs, err := p.asRoot("squeue", "-h", "-o", "job %i %T")
		if err != nil {
			jobs = err.Error()
		}
		states, _ := filepath.Glob(p.onHost("/run/user/1000/ocishim-scrun/*"))
		left = jobs + strings.Join(states, "\n")
		return left == ""
	}) {
		_, _ = p.asRoot("scancel", "--user", "alice")
	}
	return left
}

// writeScrunReport writes the table, and lists what was not run in one column.
func writeScrunReport(path string, cells map[string]map[string]string) error {
	var b strings.Builder
	b.WriteString("| |")
	for _, col := range scrunColumns {
		b.WriteString(" " + col.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(scrunColumns)) + "\n")
	for _, sc := range scrunTable() {
		b.WriteString("| " + sc.name + " |")
		for _, col := range scrunColumns {
			cell, ok := cells[col.name][sc.name]
			if !ok {
				cell = "-"
			}
			b.WriteString(" " + strings.ReplaceAll(cell, "|", "/") + " |")
		}
		b.WriteString("\n")
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
