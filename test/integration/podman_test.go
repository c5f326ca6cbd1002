//go:build integration

package integration

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// podmanScenario is one thing that people do with Podman.
type podmanScenario struct {
	name string
	who  whose
	run  func(*podman)

	differs bool // root's containers have other ids, rights, devices or cgroups in it than a user's
}

// whose says for which users a scenario holds.
type whose int

const (
	everyone  whose = iota
	notSingle       // needs more ids than one
	rootOnly        // needs cgroups, or devices of the machine
	rootless
)

// podmanScenarios is the table.
func podmanScenarios() []podmanScenario {
	var all []podmanScenario
	for _, group := range [][]podmanScenario{
		podmanRunScenarios, podmanPlaceScenarios, podmanTerminalScenarios, podmanLifeScenarios, podmanExecScenarios,
		podmanSecurityScenarios, podmanLimitScenarios, podmanPodScenarios, podmanRootlessScenarios,
	} {
		all = append(all, group...)
	}
	return all
}

// TestPodman runs real Podman on ocishim: as root, as alice, who has ranges of subordinate ids, and
// as bob, who has none. It uses this machine's Podman and, if that is older, also Debian 13's; if
// cgroups are of version 1, it also runs with version 2.
func TestPodman(t *testing.T) {
	prepare(t)
	besideOthers(t)
	if _, err := os.Stat("/usr/bin/podman"); err != nil {
		skip(t, "podman is not installed: hack/deps test installs it")
	}
	for _, place := range selectedPlaces(podmanPlaces()) {
		mustRun(t, "hack/cluster", "root", "--slurm", place.slurm)
		t.Run(strings.TrimPrefix(place.name, "it-podman-"), func(t *testing.T) {
			t.Parallel()
			runPodmanTable(t, place)
		})
	}
}

// If cgroups are of version 1, their controllers are missing in version 2, and root's Podman starts
// no container without them.
func podmanPlaces() []*podmanPlace {
	var all []*podmanPlace
	for _, slurm := range enginesSlurms() {
		all = append(all, newPodmanPlace(slurm, "root", ""), newPodmanPlace(slurm, "alice", ""))
	}
	all = append(all, newPodmanPlace("host", "bob", ""))
	if !isFile("/sys/fs/cgroup/cgroup.procs") { // otherwise the places above have version 2
		all = append(all, newPodmanPlace("host", "alice", "v2"))
	}
	return all
}

// enginesSlurms are the versions of Slurm whose roots have engines of their own: the host's, and
// 24.11's if that is another one.
func enginesSlurms() []string {
	if *flagSlurm != "" {
		return strings.Split(*flagSlurm, ",")
	}
	if version, _ := exec.Command("/usr/sbin/slurmd", "-V").Output(); strings.Contains(string(version), " 24.11.") {
		return []string{"host"}
	}
	return []string{"host", "24.11"}
}

func runPodmanTable(t *testing.T, place *podmanPlace) {
	place.up(t)
	defer place.down()
	for _, sc := range podmanScenarios() {
		if !place.selects(sc) {
			continue
		}
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			start := time.Now()
			ctx, cancel := pace.Context(context.Background(), time.Minute)
			defer cancel()
			p := &podman{session: newSession(ctx, place.cluster), user: place.user}
			before := place.census()
			out := p.judge(func(*session) { sc.run(p) })
			place.clear()
			left := place.newSince(before)
			t.Logf("%s (%.1fs)", out.cell, time.Since(start).Seconds())
			if out.bad {
				t.Errorf("%s\n%s\n%s", out.cell, out.detail, p.transcript())
			}
			if left != "" {
				t.Errorf("left behind: %s\n%s", left, p.transcript())
			}
		})
	}
}
