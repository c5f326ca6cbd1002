//go:build integration

package integration

// dockerLife: containers in the background, commands on them, and their end.
var dockerLife = []engineScenario{
	{"logs and wait", `
run -d mini sh -c 'echo out; echo err >&2; sleep 0.5; echo late; exit 6' >/dev/null
docker wait $C
docker logs $C 2>$C.err; cat $C.err; state ExitCode; state Status`, `
6
out
late
err
6
exited
`},
	{"top", `
run -d mini sh -c 'sleep 1000 & sleep 2000 & wait' >/dev/null
until_says 'sleep 2000' docker top $C
docker top $C -o pid,user,args | awk '{ print $2, $3, $4 }' | sort
docker top $C | awk 'NR > 1 { print $NF }' | sort | paste -sd' '
docker exec $C ps -o pid= | wc -l`, `
USER COMMAND 
root sh -c
root sleep 1000
root sleep 2000
1000 2000 wait
4
`},
	{"pause and unpause", `
run -d mini sh -c 'while :; do echo tick; sleep 0.05; done' >/dev/null
logged tick
docker pause $C >/dev/null; state Status
before=$(docker logs $C | wc -l); sleep $QUIET; [ "$(docker logs $C | wc -l)" = "$before" ] && echo stands still
docker exec $C true 2>&1 | grep -c 'is paused'
docker unpause $C >/dev/null; state Status
more() { [ "$(docker logs $C | wc -l)" -gt "$before" ] && echo goes on; }
until_says 'goes on' more && echo goes on`, `
paused
stands still
1
running
goes on
`},
	{"kill, paused", `
run -d mini sleep 1000 >/dev/null
docker pause $C >/dev/null
docker rm -f $C >/dev/null; echo "status $?"`, `
status 0
`},
	{"kill by a handled signal", `
run -d mini sh -c 'trap "echo usr1" USR1; trap "echo hup" HUP; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready
docker kill -s USR1 $C >/dev/null; logged usr1
docker kill -s 1 $C >/dev/null; logged hup
state Status
docker kill -s NOPE $C 2>&1 | grep -ci 'invalid signal'
docker kill $C >/dev/null; until_says exited state Status; state ExitCode
docker kill $C 2>&1 | grep -c 'is not running'`, `
running
1
137
1
`},
	{"stop", `
run -d mini sh -c 'trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready
docker stop -t $((20 * PACE)) $C >/dev/null; docker logs $C; state ExitCode; state Status
docker start $C >/dev/null; until_says running state Status; until_says 2 sh -c "docker logs $C | grep -c ready"
docker stop -t $((20 * PACE)) $C >/dev/null; state ExitCode`, `
ready
term
9
exited
9
`},
	{"stop what ignores it", `
run -d mini sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready
docker stop -t 1 $C >/dev/null; state ExitCode
docker rm $C >/dev/null
run -d --stop-signal INT mini sh -c 'trap "exit 4" INT; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready
docker stop -t $((20 * PACE)) $C >/dev/null; state ExitCode`, `
137
4
`},
	{"the first process ends, others stay", `
run -d mini sh -c 'setsid sleep 1234 & setsid sh -c "trap \"\" TERM HUP; sleep 1235" & sleep 0.3; exit 5' >/dev/null
docker wait $C
pgrep -x -f 'sleep 123[45]'`, `
5
`},
	{"restart policy", `
run -d --restart on-failure:2 mini sh -c 'echo once more; exit 3' >/dev/null
until_says 2 docker inspect -f '{{.RestartCount}}' $C; until_says exited state Status
state ExitCode; docker logs $C
docker rm -f $C >/dev/null
run -d --restart always mini sh -c 'echo up; sleep 1000' >/dev/null
logged up
docker exec $C sh -c 'kill $(ps -o pid= -C sleep)'
until_says 2 sh -c "docker logs $C | grep -c up"; state Running`, `
3
once more
once more
once more
true
`},
	{"restart", `
run -d mini sh -c 'echo $(cat /f) up; echo kept >/f; exec sleep 1000' >/dev/null 2>&1
logged up
docker restart -t 0 $C >/dev/null; logged kept && echo kept; state Running`, `
kept
true
`},
	{"health", `
run -d --health-cmd 'test -e /ok' --health-interval 300ms --health-retries 2 mini sleep 1000 >/dev/null
until_says unhealthy docker inspect -f '{{.State.Health.Status}}' $C && echo unhealthy
docker inspect -f '{{(index .State.Health.Log 0).ExitCode}}' $C
docker exec $C touch /ok
until_says '"healthy"' docker inspect -f '{{json .State.Health.Status}}' $C && echo healthy`, `
unhealthy
1
healthy
`},
	{"attach", `
run -d -i mini sh -c 'echo ready; read -r line; echo "got $line"; exit 3' >/dev/null
logged ready
(happened attach; echo a line) | docker attach $C >/dev/null; echo "status $?"; docker logs $C`, `
status 3
ready
got a line
`},
	{"attach and signals", `
run -d mini sh -c 'trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready
docker attach --no-stdin $C >$C.out & attached=$!
happened attach; kill $attached; wait $attached; echo "status $?"; cat $C.out`, `
status 9
term
`},
	{"cp, diff, commit", `
run -d mini sh -c 'echo inside >/made; echo ready; sleep 1000' >/dev/null
logged ready
docker cp $C:/made $C.out; cat $C.out
echo outside >$C.in; docker cp $C.in $C:/tmp/in; docker exec $C cat /tmp/in
docker diff $C | grep -x 'A /made'
docker commit $C $C >/dev/null; docker run --runtime $RUNTIME --rm --net none $C cat /made`, `
inside
outside
A /made
inside
`},
	{"removed by itself", `
id=$(run -d --rm mini sleep 0.3)
gone() { docker ps -aq --no-trunc | grep -c "$id"; }
until_says 0 gone && echo gone`, `
gone
`},
	{"twenty at once", `
for i in $(seq 20); do (
	out=$(docker run --rm --runtime $RUNTIME --net none --name $C-$i mini sh -c "echo $i; exit $i")
	echo "$i $out $?"
) & done | sort -n; wait`, `
1 1 1
2 2 2
3 3 3
4 4 4
5 5 5
6 6 6
7 7 7
8 8 8
9 9 9
10 10 10
11 11 11
12 12 12
13 13 13
14 14 14
15 15 15
16 16 16
17 17 17
18 18 18
19 19 19
20 20 20
`},
}
