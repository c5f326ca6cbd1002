//go:build integration

package integration

import (
	"path/filepath"
	"testing"
)

// TestStage copies images to the own disks of a job's hosts. Here each host has its own /dev/shm.
func TestStage(t *testing.T) {
	prepare(t)
	besideOthers(t)
	col := column{runtime: "ocishim", slurm: "24.11", mode: "run"}
	mustRun(t, "hack/cluster", "root", "--slurm", col.slurm, "--mpi")
	c := newCluster(t, col, "stage")
	c.mpi = true
	c.conf = []string{"CliFilterPlugins=cli_filter/lua"}
	c.etc = []string{filepath.Join(repo, "oci.conf.d/cli_filter.lua")}
	t.Cleanup(c.down)
	c.up(t)
	c.makeLayout(t)
	if out, err := c.asRoot("sh", "-c", `mkdir -p /etc/ocishim && echo 'image.local = "/dev/shm/ocishim-%U"' >/etc/ocishim/config.toml`); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.want(t, "alice", "", 0, "", inHome("sh", "-c", "ocishim image pull --format sqfs oci:layout:1 >/dev/null 2>&1")...)
	for _, step := range []struct{ what, script, want string }{
		{
			"a squashfs goes to each host, once", `
			ocishim image stage oci:layout:1 2>first | cut -c 1-7; ocishim image stage oci:layout:1 2>second | cut -c 1-7
			grep -c 'note: copying oci:.*layout:1 (sqfs, .*) to /dev/shm/ocishim-1000 on 3 hosts' first; cat second
			each 'cd /dev/shm/ocishim-1000; ls images/sha256 | cut -d. -f2; ls tmp leases; stat -c %a .'`,
			"sha256:\nsha256:\n1\n3 700\n3 leases:\n3 sqfs\n3 tmp:\n",
		},
		{
			"steps start from there: no other store has it", `
			mv .local/share/ocishim/images/images gone; mkdir -p .local/share/ocishim/images/images/sha256
			srun -N3 -n3 ocishim run-image --pull never oci:layout:1 sh -c 'echo $GREETING' | sort | uniq -c | tr -s ' '
			OCISHIM_PULL=never srun -N3 -n3 --container oci:layout:1 sh -c 'echo $GREETING' | sort | uniq -c | tr -s ' '
			rmdir .local/share/ocishim/images/images/sha256 .local/share/ocishim/images/images; mv gone .local/share/ocishim/images/images`,
			" 3 hello\n 3 hello\n",
		},
		{
			"the squashfs is unpacked on each host", `
			ocishim image stage --format tree oci:layout:1 /dev/shm/trees 2>/dev/null >&2
			each 'cd /dev/shm/trees; ls images/sha256 | cut -d. -f2; ls tmp; cat images/sha256/*/root/etc/os-release'`,
			"3 PRETTY_NAME=\"ocishim demo bundle\"\n3 tree\n",
		},
		{
			"without sbcast each host reads the store", `
			mkdir -p bin; printf '#!/bin/sh\necho no sbcast today; exit 1\n' >bin/sbcast; chmod 755 bin/sbcast
			PATH=$HOME/bin:$PATH ocishim image stage oci:layout:1 /dev/shm/read 2>&1 >/dev/null | grep -o 'sbcast: exit status 1: no sbcast today; each host'
			each 'ls /dev/shm/read/images/sha256 /dev/shm/read/tmp | cut -d. -f2'`,
			"sbcast: exit status 1: no sbcast today; each host\n3 /dev/shm/read/images/sha256:\n3 /dev/shm/read/tmp:\n3 sqfs\n",
		},
		{
			"a directory is copied by each host", `
			ocishim image pull --format tree oci:layout:1 >/dev/null 2>&1; mkdir -p aside; mv .local/share/ocishim/images/images/sha256/*.sqfs aside
			ocishim image stage oci:layout:1 /dev/shm/copied >/dev/null 2>&1
			each 'ls /dev/shm/copied/images/sha256 | cut -d. -f2; ls /dev/shm/copied/tmp; cat /dev/shm/copied/images/sha256/*/root/etc/os-release'
			mv aside/* .local/share/ocishim/images/images/sha256`,
			"3 PRETTY_NAME=\"ocishim demo bundle\"\n3 tree\n",
		},
		{
			"an error names the host, and nothing is copied", `
			srun -w n2 -N1 -n1 sh -c 'mkdir /dev/shm/bad && chmod 777 /dev/shm/bad'
			ocishim image stage oci:layout:1 /dev/shm/bad 2>&1 | grep -o -e 'on n2: .* not to be trusted' -e 'not every host.*: 0 of 3'; ls .local/share/ocishim/images/tmp
			each 'ls /dev/shm/bad/images/sha256' 2>/dev/null`,
			"on n2: open store /dev/shm/bad: bad: not to be trusted\nnot every host of the job has the image: 0 of 3\n",
		},
		{
			"a step copies to its own host", `
			srun -w n3 -N1 -n1 ocishim image stage oci:layout:1 /dev/shm/alone 2>/dev/null | cut -c 1-7
			each 'ls /dev/shm/alone/images/sha256 | cut -d. -f2' 2>/dev/null`,
			"sha256:\n1 sqfs\n",
		},
		{
			"gc removes what is on the hosts' disks", `
			srun -N3 -n3 ocishim image gc --local --max-size 0 | cut -d. -f2 | sort | uniq -c | tr -s ' '
			each 'ls /dev/shm/ocishim-1000/images/sha256'; ls .local/share/ocishim/images/images/sha256 | wc -l`,
			" 3 sqfs\n2\n",
		},
	} {
		const functions = "each() { srun -N3 -n3 --ntasks-per-node=1 sh -c \"$1\" | sed '/^$/d' | sort | uniq -c | sed 's/^ *//'; }\n"
		c.want(t, "alice", "#!/bin/sh\ncd\n"+functions+step.script, 0, step.want, inHome("sh", "-c",
			"cat >job.sh && sbatch --parsable --wait -N3 --output job.out job.sh >/dev/null; cat job.out")...)
		if t.Failed() {
			t.Fatal(step.what)
		}
	}
}
