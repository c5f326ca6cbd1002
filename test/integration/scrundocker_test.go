//go:build integration

package integration

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// scrunDocker is real dockerd in a cluster, with ocishim as its runtime by --slurm.
type scrunDocker struct {
	*cluster
	user  string
	setup string
}

// scrunDockerConfig writes daemon.json; $1 is its path, and $2 what only root has.
const scrunDockerConfig = `set -e
daemon_json() {
	mkdir -p "$1"
	cat >"$1/daemon.json" <<END
{"runtimes": {"slurm": {"path": "/usr/local/bin/ocishim", "runtimeArgs": ["--slurm"]}}, "default-runtime": "slurm", $2
 "bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false, "storage-driver": "vfs"}
END
}
ready() {
	for i in $(seq $((150 * PACE))); do timeout $((2 * PACE)) docker ps >/dev/null 2>&1 && break; sleep 0.1; done
	tar --owner=0 --group=0 -C "$1" -c . | docker import - mini >/dev/null
}
`

const scrunDockerRootful = scrunDockerConfig + `
mkdir -p /var/lib/docker
mount -t tmpfs tmpfs /var/lib/docker
daemon_json /etc/docker '"exec-opts": ["native.cgroupdriver=cgroupfs"], "live-restore": true,'
setsid dockerd </dev/null >/tmp/dockerd.log 2>&1 &
ready "$1"
`

// scrunDockerRootless follows docs/scrun.md.
const scrunDockerRootless = scrunDockerConfig + `
daemon_json ~/.config/docker ''
export DOCKERD_ROOTLESS_ROOTLESSKIT_NET=host DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER=none
PATH=$PATH:/usr/share/docker.io/contrib setsid dockerd-rootless.sh </dev/null >/tmp/dockerd.log 2>&1 &
ready "$1"
`

// scrunDockerPrelude is what the scripts can call.
const scrunDockerPrelude = `
run() { docker run --net none --name box "$@" 2>&1; }
state() { docker inspect -f "{{.State.$1}}" box; }
logged() { for i in $(seq $((100 * PACE))); do docker logs box 2>&1 | grep -qx "$1" && return; sleep 0.1; done; echo "not logged: $1"; }
`

// scrunDockerScenarios are things that people do with Docker, each with its whole output.
var scrunDockerScenarios = []engineScenario{
	{"a network namespace", `run -d mini sleep 1000 >/dev/null; [ "$(readlink /proc/$(state Pid)/ns/net)" != "$(readlink /proc/self/ns/net)" ] && echo of its own`, "of its own\n"},
	{"output and exit status", `run --rm mini sh -c 'echo out; echo err >&2; exit 7' | sort; run --rm mini sh -c 'exit 7'; echo $?`, "err\nout\n7\n"},
	{"input", `seq 100000 | run -i --rm mini wc -l`, "100000\n"},
	{"not found", `run --rm mini nothing >/dev/null; echo $?`, "127\n"},
	{"nodes and name", `run --rm -e SCRUN_JOB_NUM_NODES=2 -e SCRUN_JOB_NAME=hello mini sh -c 'echo $SLURM_JOB_NUM_NODES $SLURM_JOB_NAME'`, "2 hello\n2 hello\n"},
	{"stop, TERM handled", `run -d mini sh -c 'trap "echo term; exit 9" TERM; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready; docker stop -t $((10 * PACE)) box >/dev/null; state ExitCode; docker logs box 2>&1`, "9\nready\nterm\n"},
	{"kill by signal", `run -d mini sh -c 'trap "echo usr1" USR1; echo ready; while :; do sleep 0.1; done' >/dev/null
logged ready; docker kill -s USR1 box >/dev/null; logged usr1; docker kill box >/dev/null; docker wait box`, "137\n"},
	{"exec", `run -d mini sleep 1000 >/dev/null; docker exec box sh -c 'echo out; exit 5'; echo $?; echo text | docker exec -i box cat`, "out\n5\ntext\n"},
	{"terminal", `script -qefc "docker run --net none --name box --rm -it mini sh -c '[ -t 0 ] && [ -c \$(tty) ] && echo terminal; exit 6'" /dev/null </dev/null | tr -d '\r^@\000\010D'; echo ${PIPESTATUS[0]}`, "terminal\n6\n"},
	{"top, pause", `run -d mini sleep 1000 >/dev/null; docker top box | grep -c scrun-anchor; docker pause box >/dev/null; state Status; docker unpause box >/dev/null; state Status`, "1\npaused\nrunning\n"},
	{"refused", `run --rm -e SCRUN_PARTITION=nope mini true | grep -o 'allocation refused: invalid partition specified: nope'; docker rm -f box >/dev/null 2>&1`, "allocation refused: invalid partition specified: nope\n"},
}

// scrunDockerRootScenarios need root's dockerd: a rootless one drops limits if cgroups are of
// version 1, and its containers die with it.
var scrunDockerRootScenarios = []engineScenario{
	{"limits become the job's", `run --rm --cpus 1.5 mini sh -c 'echo $SLURM_CPUS_PER_TASK'
run --rm --memory 100m mini true | grep -o 'allocation refused: Memory specification can not be satisfied'`, // the compute nodes have 1 MiB
		"2\nallocation refused: Memory specification can not be satisfied\n"},
	{"dockerd restarted", `run -d mini sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done' >/dev/null; logged ready
pkill -KILL -x dockerd; while pgrep -x dockerd >/dev/null; do sleep 0.05; done; rm -f /run/docker.pid
setsid dockerd </dev/null >>/tmp/dockerd.log 2>&1 &
for i in $(seq $((150 * PACE))); do timeout $((2 * PACE)) docker version >/dev/null 2>&1 && break; sleep 0.1; done
state Status; docker stop -t $((10 * PACE)) box >/dev/null; state ExitCode`, "running\n9\n"},
}

// scrunDockerEnterScenarios: exec enters the container on its compute node, which has its own
// tmpfs.
var scrunDockerEnterScenarios = []engineScenario{
	{
		"exec into the container", `run -d --tmpfs /private mini sh -c 'echo of its own >/private/file; echo ready; exec sleep 1000' >/dev/null; logged ready
docker exec -e GIVEN=yes box sh -c 'cat /private/file; echo $GIVEN ${SLURM_JOB_ID:+job}; exit 5'; echo $?
script -qefc "docker exec -it box sh -c '[ -t 0 ] && cat /private/file; exit 6'" /dev/null </dev/null | tr -d '\r^@\000\010D'; echo ${PIPESTATUS[0]}`,
		"of its own\nyes job\n5\nof its own\n6\n",
	},
}

// scrunDockerJobScenarios need compute nodes with fake GPUs, and with a limit on the memory of
// jobs. Docker accepts --gpus if it finds NVIDIA's hook; the one here is fake, and never runs,
// since the GPUs are the job's.
var scrunDockerJobScenarios = []engineScenario{
	{
		"GPUs", `run --rm --gpus 2 mini sh -c 'echo $SLURM_GPUS_ON_NODE GPUs, $CUDA_VISIBLE_DEVICES, ${NVIDIA_VISIBLE_DEVICES-unset}' | grep -v 'kernel driver is not loaded'
run --rm --gpus all mini true | grep -o 'gpus all does not say how many'; docker rm -f box >/dev/null 2>&1
run --rm --gpus all -e SCRUN_GPUS=1 mini sh -c 'echo $SLURM_GPUS_ON_NODE GPU' | grep -v 'kernel driver is not loaded'
run --rm --gpus 5 mini true | grep -o 'Requested node configuration is not available'; docker rm -f box >/dev/null 2>&1`,
		"2 GPUs, 0,1, unset\ngpus all does not say how many\n1 GPU\nRequested node configuration is not available\n",
	},
	{
		"GPUs by Podman", `podman() { PODMAN_IGNORE_CGROUPSV1_WARNING=1 command podman --storage-driver vfs --cgroup-manager cgroupfs --runtime /usr/local/bin/scrun "$@"; }
tar --owner=0 --group=0 -C "$1" -c . | podman import -q - mini >/dev/null
podman run --rm --net none --ulimit host --device /dev/nvidia0 --device /dev/nvidia1 mini sh -c 'echo $SLURM_GPUS_ON_NODE GPUs' 2>&1 | grep -v 'kernel driver is not loaded'
podman rmi -f mini >/dev/null; podman system migrate`,
		"2 GPUs\n",
	},
	{"out of memory", `run -e SCRUN_MEM_PER_NODE=32M mini tail /dev/zero | grep -o 'ran out of memory'; state ExitCode`, "ran out of memory\n137\n"},
}

// TestScrunDocker runs containers of real dockerd as jobs: this machine's dockerd, rootful and
// rootless, with this machine's Slurm, which may lack scrun; and Debian 13's, rootless, if that is
// another one.
func TestScrunDocker(t *testing.T) {
	prepare(t)
	besideOthers(t)
	for _, program := range []string{"/usr/sbin/dockerd", "/usr/bin/docker", "/usr/sbin/slurmd", "/usr/bin/rootlesskit"} {
		if _, err := os.Stat(program); err != nil {
			skip(t, program+" is missing: hack/deps test installs it")
		}
	}
	t.Run("rootful", func(t *testing.T) {
		d := newScrunDocker(t, "host", "root", scrunDockerRootful)
		d.runAll(t, slices.Concat(scrunDockerScenarios, scrunDockerRootScenarios))
	})
	for _, slurm := range selectedSlurms() {
		t.Run("rootless,"+slurm, func(t *testing.T) {
			mustRun(t, "hack/cluster", "root", "--slurm", slurm)
			d := newScrunDocker(t, slurm, "alice", scrunDockerRootless)
			d.runAll(t, scrunDockerScenarios)
			if out, err := d.asRoot("sh", "-c", `echo 'scrun.enter = ["/usr/local/bin/ocishim"]' >/etc/ocishim/config.toml`); err != nil {
				t.Fatalf("setup: %v: %s", err, out)
			}
			d.runAll(t, scrunDockerEnterScenarios)
			if d.gpus > 0 {
				d.runAll(t, scrunDockerJobScenarios)
			}
		})
	}
}

func newScrunDocker(t *testing.T, slurm, user, setup string) *scrunDocker {
	c := &cluster{column: column{runtime: "ocishim", slurm: slurm}, name: "it-scrundocker-" + user, oci: repo + "/oci.conf.d/run.conf"}
	if slurm == "host" && strings.Contains(slurmVersion(t), " 22.05") {
		c.oci = repo + "/oci.conf.d/22.05.conf"
	} else if slurm != "host" {
		c.gpus, c.driver, c.memory = 2, "none", 4096
	}
	c.start(t, 2)
	t.Cleanup(c.down)
	// A rootless dockerd sees /etc as it was at its start.
	if out, err := c.asRoot("sh", "-c", `mkdir /etc/ocishim; echo alice:100000:65536 | tee /etc/subuid >/etc/subgid
printf '#!/bin/sh\nexit 1\n' >/usr/local/bin/nvidia-container-runtime-hook; chmod 755 /usr/local/bin/nvidia-container-runtime-hook
ln -s ocishim /usr/local/bin/scrun; mknod /dev/nvidia0 c 195 0; mknod /dev/nvidia1 c 195 1; chmod 666 /dev/nvidia?`); err != nil {
		t.Fatalf("setup: %v: %s", err, out)
	}
	d := &scrunDocker{c, user, setup}
	if out, err := d.shell(setup, repo+"/"+sourceBundle+"/rootfs"); err != nil {
		log, _ := c.asRoot("tail", "/tmp/dockerd.log")
		t.Fatalf("setup: %v: %s%s", err, out, log)
	}
	version, err := d.shell("docker info -f '{{.ServerVersion}} {{.SecurityOptions}}' && squeue --version", "")
	if err != nil {
		t.Fatalf("docker info: %v: %s", err, version)
	}
	t.Log("Docker " + strings.Join(strings.Fields(version), " "))
	return d
}

func (d *scrunDocker) runAll(t *testing.T, all []engineScenario) {
	for _, sc := range all {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			out, err := d.shell(scrunDockerPrelude+sc.script, repo+"/"+sourceBundle+"/rootfs")
			_, _ = d.shell("docker rm -fv box", "")
			left := d.left()
			if err != nil || out != sc.want || left != "" {
				t.Errorf("%v; prints\n%s\nwant\n%s\nleft behind: %s", err, cut(out), sc.want, left)
			}
		})
	}
}

// shell runs a bash script and returns its whole output.
func (d *scrunDocker) shell(script, argument string) (string, error) {
	ctx, cancel := pace.Context(context.Background(), time.Minute)
	defer cancel()
	if d.user != "root" {
		script = "export DOCKER_HOST=unix://$XDG_RUNTIME_DIR/docker.sock\n" + script
	}
	out, err := d.command(ctx, d.user, "bash", "-c", shellPace()+script+"\n:", "bash", argument).CombinedOutput()
	return string(out), err
}

// left returns jobs, states and processes that do not disappear.
func (d *scrunDocker) left() string {
	var left string
	pace.Until(settle, func() bool {
		var err error
		left, err = d.shell("squeue -h; ls -d /run/docker/runtime-*/moby/* $XDG_RUNTIME_DIR/docker/runtime-*/moby/* 2>/dev/null; ps -e -o args= | grep -E '[s]crun-anchor|[s]alloc |[s]run --'; docker ps -aq", "")
		return err == nil && left == ""
	})
	return left
}

// slurmVersion returns the version that this machine's slurmd prints.
func slurmVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("/usr/sbin/slurmd", "-V").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
