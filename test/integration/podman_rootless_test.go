//go:build integration

package integration

import "slices"

// podmanRootlessScenarios: what only users without root encounter. Much of it cannot work, without
// a cgroup or ids, and then ends as with runc.
var podmanRootlessScenarios = []podmanScenario{
	{name: "ids", who: rootless, run: func(p *podman) {
		p.script(0, "0 0\n", "echo $(id -u) $(id -g)")
		if p.user == "alice" {
			p.script(0, "1000 1000\n", "echo $(id -u) $(id -g)", "--userns", "keep-id")
		}
		p.asWithRunc("run", "--rm", "--userns", "keep-id", "mini", "id")
	}},
	{name: "user without ranges", who: rootless, run: func(p *podman) {
		p.asWithRunc("run", "--rm", "--user", "5:6", "mini", "id", "-u")
		p.asWithRunc("run", "--rm", "--group-add", "7", "mini", "id", "-G")
		p.do("run", "-d", "--name", "box", "mini", "sleep", "1000")
		p.asWithRunc("run", "--rm", "--user", "70000", "mini", "id", "-u")
	}},
	// With version 1 Podman passes no limits on; with version 2 the runtime must report that it
	// cannot make the cgroup.
	{name: "limits without a cgroup", who: rootless, run: func(p *podman) {
		if r := p.call("run", "--rm", "--memory", "64m", "mini", "sh", "-c", "echo ran"); p.cgroupV1() && r.stdout != "ran\n" {
			p.failf("wrong outcome", "%+v", r)
		}
		for _, flags := range [][]string{{"--memory", "64m"}, {"--cpus", "0.5"}, {"--pids-limit", "100"}, {"--cpuset-cpus", "0"}} {
			p.asWithRunc(slices.Concat([]string{"run", "--rm"}, flags, []string{"mini", "sh", "-c", "echo ran"})...)
		}
	}},
	{name: "pause without a cgroup", who: rootless, run: func(p *podman) {
		for _, call := range [][]string{{"pause"}, {"update", "--memory", "64m"}} {
			var outcomes []result
			for _, runtime := range []string{"ocishim", "runc"} {
				p.do("--runtime", runtime, "run", "-d", "--name", runtime, "mini", "sleep", "1000")
				outcomes = append(outcomes, p.call(append(call, runtime)...))
				p.do("rm", "-f", "-t", "0", runtime)
			}
			p.alike(outcomes[0], outcomes[1])
		}
	}},
	{name: "limits above one's own", who: rootless, run: func(p *podman) {
		p.fails(126, "rlimit", "run", "--rm", "--ulimit", "nofile=999999999:999999999", "mini", "true")
		p.asWithRunc("run", "--rm", "--ulimit", "nofile=999999999:999999999", "mini", "true")
	}},
}

// cgroupV1 reports whether the machine lacks cgroups of version 2 at the usual place.
func (p *podman) cgroupV1() bool { return !isFile(p.onHost("/sys/fs/cgroup/cgroup.procs")) }

// asWithRunc runs the same with ocishim and with runc, and expects the same result.
func (p *podman) asWithRunc(args ...string) {
	p.alike(p.call(args...), p.call(append([]string{"--runtime", "runc"}, args...)...))
}

// alike compares the results, and expects a reason on stderr for a failure.
func (p *podman) alike(ours, runcs result) {
	if ours.status != runcs.status || ours.stdout != runcs.stdout || ours.status != 0 && ours.stderr == "" {
		p.failf("unlike runc", "ocishim: %d %q %q\nrunc: %d %q %q",
			ours.status, ours.stdout, ours.stderr, runcs.status, runcs.stdout, runcs.stderr)
	}
}
