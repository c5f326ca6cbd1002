//go:build integration

package integration

// dockerCrashes: daemons and shims are killed. The scenarios run one after the other, since what is
// killed serves all containers.
var dockerCrashes = []engineScenario{
	{"dockerd killed, live restore", `
keep='trap "echo term; exit 9" TERM; while :; do echo tick; sleep 0.1; done'
run -d mini sh -c "$keep" >/dev/null
docker run -d --runtime $RUNTIME --net none --name $C-1 mini sh -c 'echo begun; sleep 2023; exit 6' >/dev/null
docker run -d --runtime $RUNTIME --net none --name $C-2 mini sh -c 'exec sleep 1000' >/dev/null
logged tick
pid=$(state Pid); killed=$(state Pid $C-2); ending=$(state Pid $C-1)
kill -9 $(pgrep -x dockerd); gone dockerd
kill -9 $killed
kill -0 $pid && echo goes on
pkill -x -f 'sleep 2023'; while kill -0 $ending 2>/dev/null; do sleep 0.05; done
start-dockerd
state Running; [ $(state Pid) = $pid ] && echo the same process
docker exec $C sh -c 'echo exec; exit 5'; echo "status $?"
before=$(docker logs $C | wc -l); more() { [ $(docker logs $C | wc -l) -gt $before ] && echo more; }
until_says more more
docker pause $C >/dev/null; state Status; docker unpause $C >/dev/null
docker stop -t $((20 * PACE)) $C >/dev/null; state ExitCode; docker logs $C | tail -1
until_says exited state Status $C-1; state ExitCode $C-1; docker logs $C-1
until_says exited state Status $C-2; state ExitCode $C-2`, `
goes on
true
the same process
exec
status 5
paused
9
term
6
begun
137
`},
	{"containerd killed", `
run -d mini sh -c 'trap "exit 9" TERM; while :; do sleep 0.1; done' >/dev/null
pid=$(state Pid)
kill -9 $(pgrep -x containerd); gone containerd; start-containerd
kill -0 $pid && echo goes on
until_says again docker exec $C sh -c 'echo again' && echo exec works
docker stop -t $((20 * PACE)) $C >/dev/null; until_says exited state Status; state ExitCode
docker run --rm --runtime $RUNTIME --net none --name $C-1 mini sh -c 'exit 3'; echo "status $?"`, `
goes on
exec works
9
status 3
`},
	{"shim killed", `
run -d mini sh -c 'sleep 1041 & sleep 1041' >/dev/null
until_says 2 pgrep -c -x -f 'sleep 1041'
id=$(docker inspect -f '{{.Id}}' $C)
kill -9 $(pgrep -f "containerd-shim-runc-v2 .*-id $id")
until_says exited state Status
none() { pgrep -c -x -f 'sleep 1041'; ls -d /sys/fs/cgroup/{,*/}ocishim-docker/$id 2>/dev/null | wc -l; ls -d /run/docker/runtime-*/*/$id 2>/dev/null | wc -l; }
until_says "0
0
0" none && echo nothing left
state ExitCode
docker start $C >/dev/null; docker exec $C sh -c 'exit 4'; echo "status $?"`, `
nothing left
137
status 4
`},
	{"the runtime killed while it creates", `
for delay in 0.01 0.02 0.03 0.05 0.08; do
	docker run --rm --runtime $RUNTIME --net none --name $C mini true >/dev/null 2>&1 & run=$!
	for _ in $(seq 500); do pid=$(pgrep -o -f "/(ocishim|runc) .* create ") && break; sleep 0.002; done
	sleep $delay; kill -9 $pid 2>/dev/null
	wait $run; docker rm -f $C >/dev/null 2>&1
done
docker run --rm --runtime $RUNTIME --net none --name $C mini sh -c 'exit 3'; echo "status $?"`, `
status 3
`},
}
