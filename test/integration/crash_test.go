//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// crashScenarios: programs that end abnormally.
var crashScenarios = []scenario{
	{name: "setsid orphans", run: orphans},
	{name: "slurmstepd killed", noisy: true, run: stepdKilled},
	{name: "runtime killed at random moments", noisy: true, limit: 2 * time.Minute, run: runtimeKilled},
}

func orphans(s *session) {
	r := s.as("alice", s.srun("ro", "setsid sleep 1000 </dev/null >/dev/null 2>&1 & (setsid sleep 1001 >/dev/null 2>&1 &); echo left")...)
	s.wantSaid(r, "left\n")
	s.wantStatus(r, 0)
}

// stepdKilled: nothing is left to clean up, and still no process may remain. Slurm itself leaves
// its spool directory; a state entry is removed with the user's next container.
func stepdKilled(s *session) {
	script := "echo >/out/ready; setsid sleep 1000 & exec sleep 1001"
	if s.inPlace() {
		// Without a pid namespace it is as without a container: the task ends, and what it has left
		// behind is in Slurm's cgroup.
		script = "echo >/out/ready; exec sleep 1001"
	}
	t := s.begin("alice", nil, nil, s.srun("ro", script)...)
	s.started()
	id := s.job()
	for _, p := range s.stepds(id) {
		s.admin("kill", "-KILL", p.pid)
	}
	s.until("container outlives slurmstepd", 5*time.Second, func() bool {
		left := s.leftProcess()
		return left == "" || strings.Contains(left, "srun")
	})
	s.admin("scancel", id)
	t.kill()
	// These are Slurm's own files, which nobody removes in this case (docs/slurm.md): a later
	// step's check would find them.
	s.admin("bash", "-c", "rm -rf /var/spool/slurmd/*/oci-job* /var/spool/slurmd/*/*."+id+".*")
	if s.inPlace() {
		// A minute later the next container removes the state.
		s.admin("bash", "-c", "find /run/ocishim /run/user/*/ocishim -mindepth 1 -maxdepth 2 -exec touch -d '-10 minutes' {} + 2>/dev/null; true")
	}
	s.wantStatus(s.as("alice", s.srun("ro", "true")...), 0)
}

// inPlace reports whether the column's containers are launched in place.
func (s *session) inPlace() bool {
	return s.runtime == "ocishim" && (s.mode == "run" || s.mode == "run-sh")
}

// stepds returns the slurmstepd processes of a job's steps. In a job with namespaces of its own,
// the one that only holds the job is not among them.
func (s *session) stepds(job string) []process {
	var all []process
	for _, p := range s.processes() {
		if strings.HasPrefix(p.cmdline, "slurmstepd: ["+job+".") && !strings.Contains(p.cmdline, ".extern]") && p.uid == "0" {
			all = append(all, p)
		}
	}
	return all
}

// runtimeKilled: many steps of one job that would run forever, and a killer that kills the processes
// that slurmstepd has started, whatever they are doing.
func runtimeKilled(s *session) {
	rounds := crashes()
	step := strings.Join(quote(s.srun("ro", "exec sleep 1000", "-n1", "--exact")), " ")
	all := fmt.Sprintf("for i in $(seq %d); do %s & pids+=($!); [ $((i%%5)) != 0 ] || wait ${pids[i-5]}; done; "+
		"for p in ${pids[@]}; do wait $p; s=$?; [ $s != 0 ] || echo status $s; done; echo all ended", rounds, step)
	t := s.begin("alice", nil, nil, "salloc", "-N1", "-n64", "bash", "-c", all)
	killed := 0
	for !ended(t) && s.ctx.Err() == nil {
		pace.Pause(rand.N(80 * time.Millisecond))
		if victims := s.runtimes(); len(victims) > 0 {
			if _, err := s.asRoot("kill", "-KILL", victims[rand.IntN(len(victims))].pid); err == nil {
				killed++
			}
		}
	}
	r := s.wait(t)
	if killed < rounds {
		s.failf("test error", "only %d kills", killed)
	}
	if !strings.Contains(r.stdout, "all ended") || strings.Contains(r.stdout, "status 0") && s.mode != "create" {
		s.failf("a killed runtime counts as success", "%s", r.stdout)
	}
}

// runtimes returns the processes that a slurmstepd started for a user's tasks.
func (s *session) runtimes() []process {
	var found []process
	stepds := map[string]bool{}
	all := s.processes()
	for _, p := range all {
		if p.uid == "0" && strings.HasPrefix(p.cmdline, "slurmstepd: [") {
			stepds[p.pid] = true
		}
	}
	for _, p := range all {
		if stepds[p.parent] && p.uid != "0" && p.state != "Z" {
			found = append(found, p)
		}
	}
	return found
}
