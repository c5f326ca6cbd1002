//go:build integration

package integration

import "testing"

// TestDocker runs real dockerd, as root, on ocishim: first the tables in parallel, then what needs
// the daemon for itself.
func TestDocker(t *testing.T) {
	besideOthers(t) // but not beside TestContainerd, which uses the same cgroups
	e := newEngine(t)
	privileged, err := e.canPrivilege()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("table", func(t *testing.T) {
		for _, table := range [][]engineScenario{
			dockerRun, dockerPlaces, dockerSecurity, dockerLimits, dockerLife, dockerExec,
		} {
			e.sideBySide(t, table)
		}
		if privileged {
			e.sideBySide(t, dockerPrivileged)
		} else {
			e.sideBySide(t, dockerNotPrivileged)
		}
		e.runErrors(t)
		e.terminals(t)
	})
	if !t.Failed() {
		e.nothingLeft(t, "/netns/default$") // host networking's
	}
	t.Run("killed", func(t *testing.T) { e.inTurn(t, dockerCrashes) })
	if !t.Failed() {
		// dockerd's prestart hook may outlive the killed runtime, and give a network namespace to a
		// container that dockerd has given up.
		e.nothingLeft(t, "/netns/")
	}
}
