//go:build integration

package integration

import "testing"

// wantWritableImages changes an image's files in each task of a step. Whatever ends the step, no
// layer stays on a host's disk: Slurm's cleanup removes it, or the user's next container.
func (c *cluster) wantWritableImages(t *testing.T) {
	const image = "oci:layout:1"
	const layers = `ls -A /tmp/ocishim-$(id -u alice)*/.ocishim-layers`
	ways := []string{"ocishim run-image " + image}
	if c.slurm != "22.05" { // which starts one task with --container per host
		ways = append(ways, "--container "+image)
	}
	for _, mode := range []string{"tmpfs:64m", "disk"} {
		for _, way := range ways {
			c.want(t, "alice", "", 0, "0 1 2 3 4 5 6 7\n", inHome("sh", "-c",
				`OCISHIM_WRITABLE=`+mode+` srun -N2 -n8 --ntasks-per-node=4 `+way+
					` sh -c 'test ! -e /mine && echo $SLURM_PROCID >/mine && rm -r /mnt && mkdir /mnt && cat /mine' | sort | tr '\n' ' ' | sed 's/ $/\n/'`)...)
		}
	}
	c.want(t, "alice", "", 0, "cancelled\n", inHome("sh", "-c",
		`OCISHIM_WRITABLE=disk srun --immediate=60 -N2 -n2 ocishim run-image `+image+` sh -c 'echo >/x; echo began; exec sleep 600' 2>/dev/null | { read line; scancel --me; cat >/dev/null; echo cancelled; }`)...)
	c.want(t, "alice", "", 0, "", inHome("srun", "-N2", "-n2", "ocishim", "run-image", image, "true")...)
	if out, err := c.asRoot("sh", "-c", layers); err != nil || len(out) > 0 {
		t.Errorf("layers are left: %v: %s", err, out)
	}
}
