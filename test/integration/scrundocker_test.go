//go:build integration

package integration

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// scrunDockerSetup starts real dockerd in a cluster, with ocishim as runtime by --slurm.
const scrunDockerSetup = `set -e
mkdir -p /etc/docker /var/lib/docker
mount -t tmpfs tmpfs /var/lib/docker
cat >/etc/docker/daemon.json <<END
{"runtimes": {"slurm": {"path": "/usr/local/bin/ocishim", "runtimeArgs": ["--slurm"]}}, "default-runtime": "slurm",
 "exec-opts": ["native.cgroupdriver=cgroupfs"], "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false,
 "storage-driver": "vfs", "exec-root": "/run/docker", "pidfile": "/run/docker.pid", "live-restore": true}
END
setsid dockerd </dev/null >/tmp/dockerd.log 2>&1 &
for i in $(seq 100); do timeout 2 docker version >/dev/null 2>&1 && break; sleep 0.1; done
tar --owner=0 --group=0 -C "$1" -c . | docker import - mini >/dev/null
`

// scrunDockerPrelude is what the scripts can call.
const scrunDockerPrelude = `
run() { docker run --net none --name box "$@" 2>&1; }
state() { docker inspect -f "{{.State.$1}}" box; }
logged() { for i in $(seq 100); do docker logs box 2>&1 | grep -qx "$1" && return; sleep 0.1; done; echo "not logged: $1"; }
`

// scrunDockerScenarios are what people do with Docker, and all that is printed.
var scrunDockerScenarios = []engineScenario{
	{"output and exit status", `run --rm mini sh -c 'echo out; echo err >&2; exit 7' | sort; run --rm mini sh -c 'exit 7'; echo $?`, "err\nout\n7\n"},
	{"input", `seq 100000 | run -i --rm mini wc -l`, "100000\n"},
	{"not found", `run --rm mini nothing >/dev/null; echo $?`, "127\n"},
	{"nodes and name", `run --rm -e SCRUN_JOB_NUM_NODES=2 -e SCRUN_JOB_NAME=hello mini sh -c 'echo $SLURM_JOB_NUM_NODES $SLURM_JOB_NAME'`, "2 hello\n2 hello\n"},
	{"limits become the job's", `run --rm --cpus 1.5 mini sh -c 'echo $SLURM_CPUS_PER_TASK'
run --rm --memory 100m mini true | grep -o 'allocation refused: Memory specification can not be satisfied'`, // the nodes have 1 MiB
		"2\nallocation refused: Memory specification can not be satisfied\n"},
	{"a network namespace", `run -d mini sleep 1000 >/dev/null; [ "$(readlink /proc/$(state Pid)/ns/net)" != "$(readlink /proc/1/ns/net)" ] && echo of its own`, "of its own\n"},
	{"stop, TERM handled", `run -d mini sh -c 'trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready; docker stop -t 10 box >/dev/null; state ExitCode; docker logs box 2>&1`, "9\nready\nterm\n"},
	{"kill by signal", `run -d mini sh -c 'trap "echo usr1" USR1; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready; docker kill -s USR1 box >/dev/null; logged usr1; docker kill box >/dev/null; docker wait box`, "137\n"},
	{"exec", `run -d mini sleep 1000 >/dev/null; docker exec box sh -c 'echo out; exit 5'; echo $?; echo text | docker exec -i box cat`, "out\n5\ntext\n"},
	{"terminal", `script -qefc "docker run --net none --name box --rm -it mini sh -c '[ -t 0 ] && [ -c \$(tty) ] && echo terminal; exit 6'" /dev/null </dev/null | tr -d '\r^@\000\010D'; echo ${PIPESTATUS[0]}`, "terminal\n6\n"},
	{"top, pause", `run -d mini sleep 1000 >/dev/null; docker top box | grep -c scrun-anchor; docker pause box >/dev/null; state Status; docker unpause box >/dev/null; state Status`, "1\npaused\nrunning\n"},
	{"refused", `run --rm -e SCRUN_PARTITION=nope mini true | grep -o 'allocation refused: invalid partition specified: nope'; docker rm -f box >/dev/null 2>&1`, "allocation refused: invalid partition specified: nope\n"},
	{"dockerd restarted", `run -d mini sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done' >/dev/null; logged ready
pkill -KILL -x dockerd; sleep 0.5; rm -f /run/docker.pid; setsid dockerd </dev/null >>/tmp/dockerd.log 2>&1 &
sleep 0.7; for i in $(seq 100); do timeout 2 docker version >/dev/null 2>&1 && break; sleep 0.1; done
state Status; docker stop -t 10 box >/dev/null; state ExitCode`, "running\n9\n"},
}

// TestScrunDocker runs containers of real dockerd, the machine's own, as jobs of this
// machine's Slurm, which has no scrun.
func TestScrunDocker(t *testing.T) {
	prepare(t)
	for _, program := range []string{"/usr/sbin/dockerd", "/usr/bin/docker", "/usr/sbin/slurmd"} {
		if _, err := os.Stat(program); err != nil {
			skip(t, program+" is missing: hack/deps test installs it")
		}
	}
	c := &cluster{column: column{runtime: "ocishim", slurm: "host"}, name: "it-scrundocker", oci: repo + "/oci.conf.d/22.05.conf"}
	if version := slurmVersion(t); !strings.Contains(version, " 22.05") {
		c.oci = repo + "/oci.conf.d/run.conf"
	}
	c.start(t, 2)
	defer c.down()
	if out, err := c.shell("root", scrunDockerSetup, repo+"/"+sourceBundle+"/rootfs"); err != nil {
		t.Fatalf("setup: %v: %s", err, out)
	}
	for _, sc := range scrunDockerScenarios {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			out, err := c.shell("root", scrunDockerPrelude+sc.script, "")
			_, _ = c.shell("root", "docker rm -fv box", "")
			left := c.dockerLeft()
			if err != nil || out != sc.want || left != "" {
				t.Errorf("%v; prints\n%s\nwant\n%s\nleft behind: %s", err, cut(out), sc.want, left)
			}
		})
	}
}

// shell runs a script of bash and returns all that it prints.
func (c *cluster) shell(user, script, argument string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := c.command(ctx, user, "bash", "-c", script+"\n:", "bash", argument).CombinedOutput()
	return string(out), err
}

// dockerLeft are jobs, states and processes that do not go.
func (c *cluster) dockerLeft() string {
	var left string
	for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var err error
		left, err = c.shell("root", "squeue -h; ls -A /run/docker/runtime-*/moby; ps -e -o args= | grep -E '[s]crun-anchor|[s]alloc |[s]run --'; docker ps -aq", "")
		if err == nil && left == "" {
			return ""
		}
	}
	return left
}

// slurmVersion is what this machine's slurmd says of itself.
func slurmVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("/usr/sbin/slurmd", "-V").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
