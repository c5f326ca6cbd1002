//go:build integration

package integration

// dockerRun: docker run, its streams, its status and the process.
var dockerRun = []engineScenario{
	{"exit status", `
for s in 0 1 42 255; do run --rm mini sh -c "echo $s; exit $s"; echo "status $?"; done
run --rm mini sh -c 'sh -c "kill -9 \$\$"'; echo "status $?"`, `
0
status 0
1
status 1
42
status 42
255
status 255
Killed
status 137
`},
	{"standard streams", `
run --rm mini sh -c 'echo out; echo err >&2' >$C.out 2>$C.err
cat $C.out; echo and; cat $C.err`, `
out
and
err
`},
	{"input", `
printf 'abc\ndef' | run --rm -i mini cat; echo; echo "status $?"
run --rm mini cat; echo "status $?"
head -c 1000000 /dev/zero | run --rm -i mini sh -c 'head -c 5 | wc -c; exit 4'; echo "status $?"`, `
abc
def
status 0
status 0
5
status 4
`},
	{"much data both ways", `
head -c 50000000 /dev/urandom >$C.in
run --rm -i mini cat <$C.in | cmp - $C.in && echo the same
run --rm mini head -c 50000000 /dev/zero | wc -c`, `
the same
50000000
`},
	{"terminal without one outside", `
run --rm -t mini sh -c 'tty; [ -t 0 ] && [ -t 2 ] && echo a terminal; stat -c %F /dev/console; echo err >&2; exit 3' 2>/dev/null; echo "status $?"`, `
/dev/pts/0
a terminal
character special file
err
status 3
`},
	{"user", `
run --rm --user 5:6 mini id
run --rm --user alice mini id
run --rm --user 5 --group-add 77 --group-add 78 mini id -G
run --rm --user 12345 mini sh -c 'touch /x 2>/dev/null || echo cannot write'`, `
uid=5 gid=6 groups=6
uid=1000(alice) gid=1000(alice) groups=1000(alice)
0 77 78
cannot write
`},
	{"environment and directory", `
run --rm -e A='b c' -e HOME=/h --env-file <(echo F=g) -w /mnt mini sh -c 'echo "$A $F $HOME $PWD"'
run --rm -w /new/dir mini sh -c pwd
run --rm --user alice mini sh -c 'echo $HOME'`, `
b c g /h /mnt
/new/dir
/home/alice
`},
	{"hostname", `
run --rm --hostname inside mini sh -c 'hostname; cat /etc/hostname'
hostname`, `
inside
inside
docker
`},
	{"init", `
run --rm --init mini sh -c 'cat /proc/1/comm; exit 7'; echo "status $?"
run -d --init mini sh -c 'trap "exit 8" TERM; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready
docker stop -t 10 $C >/dev/null; state ExitCode`, `
docker-init
status 7
8
`},
	{"entrypoint and labels", `
run --rm --entrypoint head mini -c 6 /etc/os-release; echo
docker create --runtime $RUNTIME --net none --name $C mini sh -c 'echo created' >/dev/null
state Status; docker start -a $C; echo "status $?"; state Status
docker start -a $C`, `
PRETTY
created
created
status 0
exited
created
`},
	{"build", `
printf 'FROM mini\nRUN echo built >/file && touch /other\nCMD ["cat", "/file"]\n' |
	DOCKER_BUILDKIT=0 docker build --network none -t $C - >/dev/null 2>$C.err || cat $C.err
run --rm $C`, `
built
`},
	{"rlimits", `
run --rm --ulimit nofile=123:456 --ulimit core=0 mini sh -c 'ulimit -Sn; ulimit -Hn; ulimit -c'
run --rm --oom-score-adj 321 mini cat /proc/self/oom_score_adj`, `
123
456
0
321
`},
	{"descriptors", `
run --rm mini sh -c 'ls -m /proc/$$/fd'
run --rm -t mini sh -c 'ls -m /proc/$$/fd'
run -d --rm mini sleep 1000 >/dev/null; docker exec $C sh -c 'ls -m /proc/$$/fd'`, `
0, 1, 2
0, 1, 2
0, 1, 2
`},
}
