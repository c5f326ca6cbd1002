//go:build integration

package integration

// dockerPlaces: mounts, devices, kernel settings and shared namespaces.
var dockerPlaces = []engineScenario{
	{"read-only", `
run --rm --read-only mini sh -c 'exec 2>&1; touch /x; mkdir /etc/x; echo $?' | grep -o -e 'Read-only.*' -e '^[0-9]*$'
run --rm --read-only --tmpfs /scratch mini sh -c 'touch /scratch/x && echo in memory'`, `
Read-only file system
Read-only file system
1
in memory
`},
	{"tmpfs", `
run --rm --tmpfs /scratch:size=1m,mode=710,uid=7 mini sh -c 'stat -c "%a %u" /scratch; stat -f -c %T /scratch
head -c 2000000 /dev/zero 2>/dev/null >/scratch/x; echo $?; stat -c %s /scratch/x'
run --rm --mount type=tmpfs,dst=/m,tmpfs-size=2m mini grep -c ' /m tmpfs .*size=2048k' /proc/mounts`, `
710 7
tmpfs
1
1048576
1
`},
	{"volumes", `
mkdir $C; echo in >$C/a
run --rm -v /tmp/$C:/d mini sh -c 'cat /d/a; echo new >/d/b'; cat $C/b
run --rm -v /tmp/$C:/d:ro mini sh -c 'cat /d/a; exec 2>&1; touch /d/c; echo $?'
run --rm -v /tmp/$C/a:/deep/file:ro mini cat /deep/file
docker volume create $C >/dev/null
run --rm -v $C:/home mini sh -c 'echo kept >/home/f'
run --rm -v $C:/elsewhere mini cat /elsewhere/f
docker volume rm $C >/dev/null; ls $C`, `
in
new
in
touch: cannot touch '/d/c': Read-only file system
1
in
kept
a
b
`},
	{"mount propagation", `
mkdir $C; mount -t tmpfs tmpfs $C; mount --make-shared $C
run -d -v /tmp/$C:/slave:rslave -v /tmp/$C:/private mini sleep 1000 >/dev/null
mkdir $C/sub; mount -t tmpfs tmpfs $C/sub; touch $C/sub/late
docker exec $C sh -c 'ls /slave/sub; echo and; ls /private/sub'
docker rm -f $C >/dev/null; umount $C/sub $C`, `
late
and
`},
	{"shm-size", `
run --rm mini grep -o 'shm tmpfs.*size=[0-9]*k' /proc/mounts | grep -o 'size.*'
run --rm --shm-size 7m mini grep -o 'shm tmpfs.*size=[0-9]*k' /proc/mounts | grep -o 'size.*'`, `
size=65536k
size=7168k
`},
	{"device", `
run --rm --device /dev/null:/dev/mine mini sh -c 'stat -c "%t:%T %F" /dev/mine; echo x >/dev/mine && echo written'
mknod $C c 1 2 # has no driver: who may open it is told so
run --rm --device /tmp/$C:/dev/readable:r mini sh -c 'exec 2>&1; (: </dev/readable); (: >/dev/readable)'
run --rm mini sh -c 'ls -d /dev/*' | grep -v core | paste -sd' '`, `
1:3 character special file
written
sh: 1: cannot open /dev/readable: No such device or address
sh: 1: cannot create /dev/readable: Operation not permitted
/dev/fd /dev/full /dev/mqueue /dev/null /dev/ptmx /dev/pts /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero
`},
	{"sysctl", `
run --rm --sysctl net.ipv4.ip_unprivileged_port_start=99 --sysctl kernel.shmmni=77 mini cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni
[ "$(cat /proc/sys/kernel/shmmni)" = 77 ] || echo not here`, `
99
77
not here
`},
	{"namespaces", `
for ns in pid net ipc uts mnt; do
	[ "$(run --rm mini readlink /proc/self/ns/$ns)" = "$(readlink /proc/self/ns/$ns)" ] || echo $ns its own
done
[ "$(run --rm --pid host mini readlink /proc/self/ns/pid)" = "$(readlink /proc/self/ns/pid)" ] && echo pid ours
[ "$(run --rm --ipc host mini readlink /proc/self/ns/ipc)" = "$(readlink /proc/self/ns/ipc)" ] && echo ipc ours
[ "$(run --rm --uts host mini readlink /proc/self/ns/uts)" = "$(readlink /proc/self/ns/uts)" ] && echo uts ours
[ "$(docker run --runtime $RUNTIME --rm --net host mini readlink /proc/self/ns/net)" = "$(readlink /proc/self/ns/net)" ] && echo net ours
run --rm --pid host mini ps -e -o args= | grep -c '^dockerd$'`, `
pid its own
net its own
ipc its own
uts its own
mnt its own
pid ours
ipc ours
uts ours
net ours
1
`},
	{"namespaces of another container", `
run -d --ipc shareable mini sh -c 'echo shared >/dev/shm/f; sleep 1000' >/dev/null
until_says shared docker exec $C cat /dev/shm/f
docker run --runtime $RUNTIME --rm --pid container:$C --ipc container:$C --net container:$C mini sh -c '
for ns in pid net ipc; do [ $(readlink /proc/self/ns/$ns) = $(readlink /proc/1/ns/$ns) ] && echo $ns shared; done
cat /dev/shm/f; ps -e -o args= | grep -c ^sleep'`, `
pid shared
net shared
ipc shared
shared
1
`},
	{"pid host and kill", `
run -d --pid host mini sh -c 'sleep 1021 & sleep 2021 & echo ready; wait' >/dev/null
logged ready
docker kill $C >/dev/null; until_says exited state Status; state ExitCode
pgrep -x -f 'sleep [12]021'`, `
137
`},
}
