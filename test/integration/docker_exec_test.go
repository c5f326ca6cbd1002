//go:build integration

package integration

// dockerExec: docker exec, its streams, its status and the process.
var dockerExec = []engineScenario{
	{"exec: status", `
run -d mini sleep 1000 >/dev/null
for s in 0 1 42 255; do docker exec $C sh -c "echo $s; exit $s"; echo "status $?"; done
docker exec $C sh -c 'kill -9 $$'; echo "status $?"
docker exec $C sh -c 'kill -TERM $$'; echo "status $?"
docker exec $C sh -c nothing 2>/dev/null; echo "status $?"
docker exec $C sh -c /etc/passwd 2>/dev/null; echo "status $?"`, `
0
status 0
1
status 1
42
status 42
255
status 255
status 137
status 143
status 127
status 126
`},
	{"exec: streams", `
run -d mini sleep 1000 >/dev/null
docker exec $C sh -c 'echo out; echo err >&2' >$C.out 2>$C.err; cat $C.out; echo and; cat $C.err
printf 'abc\ndef' | docker exec -i $C cat; echo
head -c 50000000 /dev/urandom >$C.in
docker exec -i $C cat <$C.in | cmp - $C.in && echo the same
docker exec -t $C sh -c 'tty; [ -t 0 ] && [ -t 2 ] && echo a terminal; exit 3'; echo "status $?"`, `
out
and
err
abc
def
the same
/dev/pts/0
a terminal
status 3
`},
	{"exec: the process", `
run -d --user 7 -e OF=container -w /mnt mini sleep 1000 >/dev/null
docker exec $C sh -c 'id -u; pwd; echo $OF'
docker exec -u 5:6 -w /usr -e A='b c' -e OF=exec $C sh -c 'id -u; id -g; pwd; echo $A $OF'
docker exec -u alice $C sh -c 'id; echo $HOME'
docker exec -u nobody-here $C true 2>&1 | grep -c 'unable to find user'`, `
7
/mnt
container
5
6
/usr
b c exec
uid=1000(alice) gid=1000(alice) groups=1000(alice)
/home/alice
1
`},
	{"exec: in the container", `
run -d --memory 32m --memory-swap 32m --hostname inside mini sleep 1000 >/dev/null
docker exec $C sh -c 'hostname; cat /proc/1/comm; for ns in pid net ipc uts mnt; do [ $(readlink /proc/self/ns/$ns) = $(readlink /proc/1/ns/$ns) ] || echo $ns differs; done'
docker exec -d $C sleep 1001
until_says 'sleep 1001' docker top $C
pid=$(pgrep -x -f 'sleep 1001' --ns $(state Pid) --nslist pid)
grep -c "/$(docker inspect -f '{{.Id}}' $C)$" /proc/$pid/cgroup | grep -vx 0 >/dev/null && echo in its cgroup
docker exec $C tail /dev/zero; echo "status $?"; state Running`, `
inside
sleep
in its cgroup
status 137
true
`},
	{"exec: capabilities", `
run -d --cap-drop ALL --cap-add CHOWN --security-opt no-new-privileges mini sleep 1000 >/dev/null
status() { docker exec "$@" $C grep -e CapInh -e CapEff -e CapBnd -e CapAmb -e NoNewPrivs -e Seccomp: /proc/self/status | cut -f2 | paste -sd' '; }
status; status -u 1000`, `
0000000000000000 0000000000000001 0000000000000001 0000000000000000 1 2
0000000000000000 0000000000000000 0000000000000001 0000000000000000 1 2
`},
	{"exec: in the background", `
run -d mini sleep 1000 >/dev/null
docker exec -d $C sh -c 'echo made >/f; sleep 1031'; echo "status $?"
until_says made docker exec $C cat /f
docker exec -d -t $C sh -c 'tty >/t; sleep 1000'
until_says /dev/pts docker exec $C cat /t
docker stop -t 0 $C >/dev/null; state ExitCode; pgrep -x -f 'sleep 1031'`, `
status 0
137
`},
	{"exec: many at once", `
run -d mini sleep 1000 >/dev/null
for i in $(seq 12); do (out=$(docker exec $C sh -c "echo $i; exit $i"); echo "$i $out $?") & done | sort -n | paste -sd,; wait
docker exec $C ps -o pid= | wc -l`, `
1 1 1,2 2 2,3 3 3,4 4 4,5 5 5,6 6 6,7 7 7,8 8 8,9 9 9,10 10 10,11 11 11,12 12 12
2
`},
	{"exec: outlived by the container, or not", `
run -d mini sh -c 'until [ -e /go ]; do sleep 0.05; done; exit 4' >/dev/null
docker exec $C sh -c 'touch /go; exec sleep 1000'; echo "status $?"
docker wait $C
docker exec $C true 2>&1 | grep -c 'is not running'`, `
status 137
4
1
`},
}
