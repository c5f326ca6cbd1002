//go:build integration

package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// TestImages runs images by name on real Slurm: with srun and run-image, which needs no oci.conf,
// and with --container and the shipped cli_filter.lua.
func TestImages(t *testing.T) {
	prepare(t)
	besideOthers(t)
	versions := []string{"24.11"}
	if pace.All() {
		versions = []string{"22.05", "24.11", "26.05"}
	}
	for _, slurm := range versions {
		t.Run(slurm, func(t *testing.T) {
			t.Parallel()
			col := column{runtime: "ocishim", slurm: slurm, mode: "run"}
			prepareColumn(t, col)
			c := newCluster(t, col, "image")
			c.conf = []string{"CliFilterPlugins=cli_filter/lua"}
			c.etc = []string{filepath.Join(repo, "oci.conf.d/cli_filter.lua")}
			t.Cleanup(c.down)
			c.up(t)
			c.wantImages(t)
			c.wantMountedImages(t)
			c.wantEnvironments(t)
			c.wantWritableImages(t)
			c.wantRootInImages(t)
		})
	}
}

// makeLayout makes an image that alice can read, oci:layout:1 in her home.
func (c *cluster) makeLayout(t *testing.T) {
	t.Helper()
	const config = `{"Env":["GREETING=hello","PATH=/usr/bin:/bin"],"WorkingDir":"/usr","Cmd":["sh","-c","echo $GREETING from $0"]}`
	mustRun(t, "hack/layout", c.onHost("/home/alice/layout"), "1", filepath.Join(repo, sourceBundle, "rootfs"), config)
	if out, err := c.asRoot("chown", "-R", "alice:", "/home/alice/layout"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// wantImages runs an image by name in each way.
func (c *cluster) wantImages(t *testing.T) {
	c.makeLayout(t)
	const image = "oci:layout:1" // relative to the job's directory
	says := []string{"sh", "-c", "echo $GREETING; id -un"}
	c.want(t, "alice", "", 0, "hello from sh\n", inHome("ocishim", "run-image", image)...)
	c.want(t, "alice", "", 0, "hello\nalice\n", inHome(append([]string{"srun", "ocishim", "run-image", image}, says...)...)...)
	c.want(t, "alice", "", 0, "hello\nalice\n", inHome(append([]string{"srun", "--container", image}, says...)...)...)
	c.want(t, "alice", "", 0, "7\n", inHome("sh", "-c", "srun ocishim run-image "+image+" sh -c 'exit 7' 2>/dev/null; echo $?")...)

	// Ranks on two hosts share the image, which was imported once, and one user namespace per host.
	c.want(t, "alice", "", 0, "4\n1\n", inHome("sh", "-c",
		`srun -N2 -n4 ocishim run-image `+image+` readlink /proc/self/ns/user | wc -l; ls .local/share/ocishim/images/images/sha256 | wc -l`)...)

	// The batch script of --container runs in the image as well.
	c.want(t, "alice", "#!/bin/sh\necho $GREETING from batch\n", 0, "hello from batch\n", inHome("sh", "-c",
		`cat >job.sh && sbatch --parsable --wait --container `+image+` --output job.out job.sh >/dev/null && cat job.out`)...)

	// A bundle is as before, and what does not exist is an error before there is a job.
	c.want(t, "alice", "", 0, "alice\n", "srun", "--container", bundle("alice", "ro"), "id", "-un")
	c.want(t, "alice", "", 0, "alice\n", inHome("sh", "-c", "cp -r "+bundle("alice", "ro")+" mine && srun --container ./mine id -un")...)
	ctx, cancel := pace.Context(context.Background(), 30*time.Second)
	defer cancel()
	out, err := c.command(ctx, "alice", inHome("srun", "--container", "oci:layout:2", "true")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no such image 2; there is 1") || strings.Contains(string(out), "Task launch") {
		t.Errorf("an image that does not exist: %v: %s", err, out)
	}
	out, err = c.command(ctx, "alice", inHome("env", "OCISHIM_PULL=never", "srun", "--container", "oci:layout:2", "true")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no store has the image, and it is not to be pulled") || strings.Contains(string(out), "Task launch") {
		t.Errorf("an image that is not to be pulled: %v: %s", err, out)
	}
	if left, _ := os.ReadDir(c.onHost("/home/alice/.local/share/ocishim/images/tmp")); len(left) > 0 {
		t.Errorf("left in the store: %v", left)
	}
}

// wantMountedImages runs an image that is one file, which is mounted for each step and host.
func (c *cluster) wantMountedImages(t *testing.T) {
	const image = "oci:layout:1"
	c.want(t, "alice", "", 0, "", inHome("sh", "-c",
		`ocishim image rm `+image+` && ocishim image pull --format sqfs `+image+` >/dev/null 2>&1`)...)
	const device = `'while read -r _ _ device _ at rest; do [ $at = / ] && echo $device ${rest#*- }; done </proc/self/mountinfo; true'`
	ways := []string{"ocishim run-image " + image}
	if c.slurm != "22.05" { // which starts one task with --container per host
		ways = append(ways, "--container "+image)
	}
	for _, way := range ways {
		c.want(t, "alice", "", 0, "2 fuse.squashfs\n", inHome("sh", "-c",
			`srun -N2 -n16 --ntasks-per-node=8 `+way+` sh -c `+device+` | sort | uniq -c | awk '$1 == 8 { n++; kind = $3 } END { print n, kind }'`)...)
	}
	c.want(t, "alice", "#!/bin/sh\necho $GREETING from batch\n", 0, "hello from batch\n", inHome("sh", "-c",
		`cat >job.sh && sbatch --parsable --wait --container `+image+` --output job.out job.sh >/dev/null && head -1 job.out`)...)
	c.want(t, "alice", "", 0, "cancelled\n", inHome("sh", "-c",
		`srun --immediate=60 ocishim run-image `+image+` sh -c 'echo began; exec sleep 600' 2>/dev/null | { read line; scancel --me; cat >/dev/null; echo cancelled; }`)...)
	if out, err := c.asRoot("sh", "-c", waitForServers); err != nil {
		t.Errorf("a server is left: %v: %s", err, out)
	}
}

// imageOf imports the root file system of a bundle, in the format, as the user, and returns the
// bundle that stands for the image: for srun --container, as any other.
func (c *cluster) imageOf(t *testing.T, user, dir, format string) string {
	t.Helper()
	const script = `cd && ocishim image stub "$(ocishim image import --format "$1" --name "${2##*/}" "$2" 2>/dev/null)"`
	ctx, cancel := pace.Context(context.Background(), time.Minute)
	defer cancel()
	out, err := c.command(ctx, user, "sh", "-c", script, "sh", format, dir+"/rootfs").Output()
	if err != nil {
		t.Fatalf("import %s: %v: %s", dir, err, out)
	}
	return strings.TrimSpace(string(out))
}

// waitForServers is a script that returns when no server of an image runs.
const waitForServers = `i=0; while ps -eo args | grep '[o]cishim-image serve'; do i=$((i+1)); [ $i -gt 600 ] && exit 1; sleep 0.1; done`
