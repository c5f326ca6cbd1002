//go:build integration

package integration

import "testing"

// wantRootInImages makes each task of a step root in its image, in both ways of calling, with a
// change that is the task's own, and cancels such tasks. Tasks with a PMI are refused.
func (c *cluster) wantRootInImages(t *testing.T) {
	const image = "oci:layout:1"
	const says = ` sh -c 'touch /etc/of-root && echo $SLURM_PROCID $(id -u) $HOME $(stat -c %u /etc/of-root)' | sort`
	ways := []string{"ocishim run-image " + image}
	if c.slurm != "22.05" { // which starts one task with --container per host
		ways = append(ways, "--container "+image)
	}
	for _, way := range ways {
		c.want(t, "alice", "", 0, "0 0 /root 0\n1 0 /root 0\n", inHome("sh", "-c",
			`OCISHIM_REMAP_ROOT=true OCISHIM_WRITABLE=tmpfs srun --mpi=none -N2 -n2 `+way+says)...)
	}
	c.want(t, "alice", "", 0, "125\n", inHome("sh", "-c", `srun --mpi=pmi2 -n2 ocishim run-image --root `+image+` true 2>/dev/null; echo $?`)...)
	c.want(t, "alice", "", 0, "0\n0\n", inHome("sh", "-c", `srun --mpi=pmi2 -n2 ocishim run-image --root=force `+image+` id -u`)...)
	c.want(t, "alice", "", 0, "0\n", inHome("sh", "-c", `srun --mpi=pmi2 -n1 ocishim run-image --root `+image+` id -u`)...)

	// exec finds root, or the container's own processes; scancel leaves nothing.
	for _, option := range []string{"--root", "--unshare pid,net"} {
		c.want(t, "alice", "", 0, "0\ncancelled\n0\n", inHome("sh", "-c",
			`srun --immediate=60 --mpi=none -n1 ocishim run-image `+option+` `+image+` sh -c 'echo began; exec sleep 600' 2>/dev/null | { read line
			ocishim exec $(ocishim list -q | tail -1) id -u; scancel --me; cat >/dev/null; echo cancelled; }
			for id in $(ocishim list -q); do ocishim delete $id 2>/dev/null; done; ocishim list -q | wc -l`)...)
	}
}
