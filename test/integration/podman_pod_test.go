//go:build integration

package integration

// podmanPodScenarios: containers that belong together.
var podmanPodScenarios = []podmanScenario{
	{name: "pod", differs: true, run: func(p *podman) {
		p.do("pod", "create", "--name", "pod", "--network", "none", "--hostname", "podded")
		for _, name := range []string{"a", "b"} {
			p.do("run", "-d", "--pod", "pod", "--name", name, "mini", "sh", "-c", `trap "exit 0" TERM; echo ready; while :; do sleep 0.1; done`)
			p.logged(name, "ready")
		}
		const shared = "hostname; readlink /proc/self/ns/net /proc/self/ns/uts /proc/self/ns/ipc"
		p.equal("namespaces", p.do("exec", "a", "sh", "-c", shared), p.do("exec", "b", "sh", "-c", shared))
		if p.do("exec", "a", "readlink", "/proc/self/ns/pid") == p.do("exec", "b", "readlink", "/proc/self/ns/pid") {
			p.failf("same pid namespace", "")
		}
		p.do("exec", "a", "sh", "-c", "echo from a >/dev/shm/x")
		p.equal("file in /dev/shm", p.do("exec", "b", "cat", "/dev/shm/x"), "from a")
		p.do("pod", "stop", "-t", "3", "pod")
		p.equal("status", p.inspect("a", "State.Status"), "exited")
		p.do("pod", "start", "pod")
		p.equal("status", p.inspect("b", "State.Status"), "running")
		p.do("pod", "rm", "-f", "-t", "0", "pod")
		p.equal("list of containers", p.do("ps", "-a", "-q"), "")
	}},
	{name: "pod with one pid namespace", run: func(p *podman) {
		p.do("pod", "create", "--name", "pod", "--network", "none", "--share", "pid,net,ipc,uts")
		p.do("run", "-d", "--pod", "pod", "--name", "a", "mini", "sleep", "2222")
		p.wants(0, "1\n", "run", "--rm", "--pod", "pod", "mini", "sh", "-c", "ps -e -o args= | grep -c '^sleep 2222'")
		p.do("pod", "kill", "pod")
		p.do("pod", "rm", "-f", "-t", "0", "pod")
	}},
	{name: "pod with limits", who: rootOnly, run: func(p *podman) {
		p.do("pod", "create", "--name", "pod", "--network", "none", "--memory", "64m")
		p.do("run", "-d", "--pod", "pod", "--name", "a", "mini", "sleep", "2222")
		p.do("pod", "pause", "pod")
		p.equal("status", p.inspect("a", "State.Status"), "paused")
		p.do("pod", "unpause", "pod")
		p.do("pod", "rm", "-f", "-t", "0", "pod")
	}},
}
