//go:build integration

package integration

// dockerLimits: cgroups that have an effect, and what Docker reads from them.
var dockerLimits = []engineScenario{
	{"limits in the cgroup", `
run -d --memory 32m --memory-swap 40m --memory-reservation 20m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 50 mini sleep 1000 >/dev/null
cg memory/memory.limit_in_bytes memory.max
cg memory/memory.soft_limit_in_bytes memory.low
cg pids/pids.max pids.max
cg cpuset/cpuset.cpus cpuset.cpus
cg cpu/cpu.cfs_quota_us cpu.max | cut -d' ' -f1
cg cpu/cpu.shares cpu.weight | grep -c -x -e 512 -e 20 -e 59
docker exec $C nproc`, `
33554432
20971520
50
0
50000
1
1
`},
	// containerd's shim listens for this event only once start has returned, and forgets it if the
	// container ends at once.
	{"out of memory", `
run -d --memory 32m --memory-swap 32m mini sh -c 'for f in begin end; do until [ -e /$f ]; do sleep 0.05; done; [ $f = end ] || { tail /dev/zero; echo "status $?"; }; done; exit 3' >/dev/null
docker exec $C touch /begin; happened oom; docker exec $C touch /end
until_says exited state Status
docker logs $C 2>&1 | grep -v Killed; state ExitCode; until_says true state OOMKilled
docker rm $C >/dev/null
run -d --memory 32m mini sleep 1 >/dev/null; docker wait $C; state OOMKilled`, `
status 137
3
0
false
`},
	{"out of memory in the first process", `
run --memory 32m --memory-swap 32m mini tail /dev/zero; echo "status $?"; state Running`, `
status 137
false
`},
	{"too many processes", `
run -d --pids-limit 10 mini sh -c 'for i in $(seq 20); do sleep 1000 & done; echo all' >/dev/null
until_says exited state Status
docker logs $C 2>&1 | grep -o 'Cannot fork'`, `
Cannot fork
`},
	{"processor time", `
run -d --cpus 0.2 mini sh -c 'while :; do :; done' >/dev/null
throttled() { [ "$(cg cpu/cpu.stat cpu.stat | awk '$1 == "nr_throttled" { print $2 }')" -gt 3 ] && echo yes; }
until_says yes throttled && echo throttled`, `
throttled
`},
	{"update", `
run -d --memory 32m --memory-swap 32m --pids-limit 50 mini sleep 1000 >/dev/null
docker update --memory 64m --memory-swap 64m --cpus 1.5 --pids-limit 20 --cpuset-cpus 0 $C >/dev/null; echo "status $?"
cg memory/memory.limit_in_bytes memory.max; cg pids/pids.max pids.max; cg cpuset/cpuset.cpus cpuset.cpus
cg cpu/cpu.cfs_quota_us cpu.max | cut -d' ' -f1
docker exec $C sh -c 'for i in $(seq 30); do sleep 100 & done' 2>&1 | grep -o 'Cannot fork'
docker update --cpuset-cpus 7777 $C >/dev/null 2>&1; echo "status $?"`, `
status 0
67108864
20
0
150000
Cannot fork
status 1
`},
	{"stats", `
run -d --memory 32m mini sh -c 'sleep 1000 & sleep 1000 & while :; do :; done' >/dev/null
running() { docker stats --no-stream --format '{{.PIDs}} {{.MemUsage}} {{.CPUPerc}}' $C; }
until_says '3 ' running
running | awk '{ print $1, $4; print ($2 + 0 > 0), ($5 + 0 > 5) }'`, `
3 32MiB
1 1
`},
	{"cgroup parent", `
run -d --cgroup-parent /ocishim-docker/sub mini sleep 1000 >/dev/null
ls -d /sys/fs/cgroup/{,*/}ocishim-docker/sub/$(docker inspect -f '{{.Id}}' $C) 2>/dev/null | grep -q . && echo there
docker rm -f $C >/dev/null
rmdir /sys/fs/cgroup/{,*/}ocishim-docker/sub 2>/dev/null
ls -d /sys/fs/cgroup/{,*/}ocishim-docker/sub 2>/dev/null`, `
there
`},
}
