//go:build integration

package integration

import "github.com/ocishim/ocishim/internal/pace"

// What `make test` runs of the tables: each scenario once, and where another way of calling,
// or another user, is what differs, some of them. `make test-all` runs all.

// selected are the columns of TestSlurm: whole by run and by create/start, else those
// scenarios that are marked short; of Slurm 26.05 run, create/start, and a job with a user
// namespace.
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

// selectedPlaces are those of TestPodman: of the newest Podman root's and a user's, where
// there is one at a place with version 2 of cgroups, and the user without ids.
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

// selects reports whether a scenario is run at the place: a user without ids runs those that
// are for users alone.
func (place *podmanPlace) selects(sc podmanScenario) bool {
	return place.holds(sc.who) && (pace.All() || place.user != "bob" || sc.who == rootless)
}

// selectedGPUs says of a column of TestGPUs whether it is run: each way of calling once, with
// the cgroup that denies the others' GPUs or without; of Slurm 26.05 run with it.
func selectedGPUs(constrain bool, col column) bool {
	if col.slurm == "26.05" && !pace.All() {
		return constrain && col.mode == "run"
	}
	return pace.All() || constrain == (col.mode == "oci" || col.mode == "create")
}

// selectedMPI are the cases of TestMPI: the least ranks on one node, the most on three.
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

// selectedSlurms are those of TestScrunDocker whose Docker runs without root.
func selectedSlurms() []string {
	all := enginesSlurms()
	if pace.All() {
		return all
	}
	return all[len(all)-1:]
}
