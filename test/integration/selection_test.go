//go:build integration

package integration

import "github.com/ocishim/ocishim/internal/pace"

// `make test` runs a selection of the tables: each scenario once, and some of them again for
// another way of calling or another user, where only that differs. `make test-all` runs everything.

// selected returns the columns for TestSlurm. Those for run and create/start are complete; the
// others have only the scenarios marked short. Slurm 26.05 has run, create/start, and a job with a
// user namespace.
func selected(all []column) []column {
	if pace.All() {
		return all
	}
	var some []column
	for _, col := range all {
		if col.slurm == "26.05" && (col.mode == "oci" || col.namespaces != "" && col.String() != "ocishim 26.05 run user") {
			continue
		}
		col.short = col.short || col.slurm != "24.11" || col.mode != "run" && col.mode != "create"
		some = append(some, col)
	}
	return some
}

// selectedPlaces returns those for TestPodman: of the newest Podman root and a user, with version 2
// of cgroups if possible, and the user without ids.
func selectedPlaces(all []*podmanPlace) []*podmanPlace {
	if pace.All() {
		return all
	}
	slurms := enginesSlurms()
	newest := slurms[len(slurms)-1]
	v2 := false
	for _, place := range all {
		v2 = v2 || place.view == "v2"
	}
	var some []*podmanPlace
	for _, place := range all {
		if place.view == "v2" || place.user == "bob" || place.slurm == newest && (place.user == "root" || !v2) {
			some = append(some, place)
		}
	}
	return some
}

// selects reports whether a scenario runs at the place. Alice runs all that are for users, root those
// that differ for root, and a user without ids those that are for users alone.
func (place *podmanPlace) selects(sc podmanScenario) bool {
	switch {
	case !place.holds(sc.who):
		return false
	case pace.All(), place.user == "alice":
		return true
	case place.user == "root":
		return sc.who == rootOnly || sc.differs
	}
	return sc.who == rootless
}

// crashes returns how many steps of a job are killed at random moments.
func crashes() int {
	if pace.All() || *flagReport != "" {
		return 50
	}
	return 20
}

// selectedGPUs reports whether a column of TestGPUs runs: each way of calling once, with or without
// the cgroup that denies other tasks' GPUs; with it for Slurm 26.05.
func selectedGPUs(constrain bool, col column) bool {
	if col.slurm == "26.05" && !pace.All() {
		return constrain && col.mode == "run"
	}
	return pace.All() || constrain == (col.mode == "oci" || col.mode == "create")
}

// selectedMPI returns the cases for TestMPI: the fewest ranks on one compute node, and the most on
// three.
func selectedMPI(all []mpiCase) []mpiCase {
	if pace.All() || *flagFigures != "" {
		return all
	}
	var some []mpiCase
	for _, c := range all {
		if c.nodes == 1 && c.ranks == 2 || c.nodes == 3 && c.ranks == 6 {
			some = append(some, c)
		}
	}
	return some
}

// selectedSlurms returns those of TestScrunDocker whose Docker runs without root.
func selectedSlurms() []string {
	all := enginesSlurms()
	if pace.All() {
		return all
	}
	return all[len(all)-1:]
}
