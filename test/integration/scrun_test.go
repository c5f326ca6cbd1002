//go:build integration

package integration

import (
	"context"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// scrunSetup makes Slurm's scrun Podman's runtime. Without shared disks a site's scrun.lua has to
// copy files; here all compute nodes are one machine, so it does nothing.
const scrunSetup = `set -e
sed -i 's/^runtime=.*/runtime="scrun"/; s|^ocishim=.*|scrun=["/usr/bin/scrun"]|' /etc/containers/containers.conf
cat >/etc/slurm/scrun.lua <<END
function slurm_scrun_stage_in() return slurm.SUCCESS end
function slurm_scrun_stage_out() return slurm.SUCCESS end
return slurm.SUCCESS
END
`

// scrunScenarios check only the output: Slurm's scrun itself loses exit statuses and signals.
var scrunScenarios = []podmanScenario{
	{name: "output", run: func(p *podman) {
		p.throughScrun(nil, regexp.MustCompile(`^job \d+\nocishim demo bundle\n$`),
			`echo "job $SLURM_JOB_ID"; . /etc/os-release; echo "$PRETTY_NAME"`)
	}},
	{name: "input", run: func(p *podman) {
		p.throughScrun(strings.NewReader(strings.Repeat("a line\n", 1000)), regexp.MustCompile(`^1000\n$`), "wc -l")
	}},
	{name: "much output", run: func(p *podman) {
		p.throughScrun(nil, regexp.MustCompile(`\n200000\n$`), "seq 200000")
	}},
}

// TestScrun runs containers with Podman and Slurm's scrun: scrun makes a job of each, whose step
// Slurm starts by oci.conf, on ocishim.
func TestScrun(t *testing.T) {
	prepare(t)
	besideOthers(t)
	throughScruns(t, "24.11", "it-scrun")
	if pace.All() {
		t.Run("26.05", func(t *testing.T) { throughScruns(t, "26.05", "it-scrun-2605") })
	}
}

func throughScruns(t *testing.T, slurm, name string) {
	mustRun(t, "hack/cluster", "root", "--slurm", slurm)
	place := newPodmanPlace(slurm, "alice", "")
	place.name, place.oci = name, filepath.Join(repo, "oci.conf.d/run.conf")
	defer place.down()
	place.up(t)
	if out, err := place.asRoot("sh", "-c", scrunSetup); err != nil {
		t.Fatalf("setup: %v: %s", err, out)
	}
	for _, sc := range scrunScenarios {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			ctx, cancel := pace.Context(context.Background(), time.Minute)
			defer cancel()
			p := &podman{session: newSession(ctx, place.cluster), user: place.user}
			before := place.census()
			out := p.judge(func(*session) { sc.run(p) })
			p.endScrun()
			place.clear()
			if out.bad {
				t.Errorf("%s\n%s\n%s", out.cell, out.detail, p.transcript())
			}
			if left := place.newSince(before) + p.leftSpool(); left != "" {
				t.Errorf("left behind: %s\n%s", left, p.transcript())
			}
		})
	}
}

// throughScrun runs a script and waits for its output. Podman does not always return after it,
// since scrun's own process may hang.
func (p *podman) throughScrun(stdin io.Reader, want *regexp.Regexp, script string) {
	args := []string{"run", "--rm", "-i", "mini", "sh", "-c", script}
	t := p.begin(p.user, stdin, nil, slices.Concat(quietly, args)...)
	p.until("no output", 20*time.Second, func() bool { return want.MatchString(t.stdout.String()) })
	p.until("job does not end", 10*time.Second, func() bool { return p.admin("squeue", "-h") == "" })
	select {
	case <-t.done:
	case <-pace.After(time.Second):
		t.kill()
	}
}

// endScrun ends what a hanging scrun keeps.
func (p *podman) endScrun() {
	for _, process := range p.processes() {
		if strings.HasPrefix(process.cmdline, "scrun: ") {
			_, _ = p.asRoot("kill", "-KILL", process.pid)
		}
	}
}
