package main

import "strings"

// A contestant is one way to start an image by name.
type contestant struct {
	name  string
	dir   string   // below /work
	load0 string   // a script that imports the image
	exec  string   // the beginning of a command line that runs a command in it, or a bundle
	env   []string // of both

	bundle string // the bundle that the import makes, if exec runs one
	first  string // a script that prints a line from within the image
}

// contestants returns all of them. The first is what readers are compared with.
func contestants(reference string) []contestant {
	all := []contestant{
		{
			name: "ocishim, tree", dir: "tree",
			load0: "ocishim-image pull --format tree REF >&2",
			exec:  "ocishim run-image REF",
		},
		{
			name: "ocishim, sqfs", dir: "sqfs",
			load0: "ocishim-image pull --format sqfs REF >&2",
			exec:  "ocishim run-image REF",
		},
		{
			name: "ocishim, bundle by path", dir: "bundle",
			load0: "ocishim-image pull REF bundle >&2",
			exec:  "ocishim run --profile hpc -b", bundle: "bundle",
			first: printFirst + "exec ocishim run --profile hpc -b bundle first",
		},
		{
			name: "apptainer", dir: "apptainer",
			load0: "apptainer --quiet pull --force image.sif docker://REF >&2",
			exec:  "apptainer --quiet exec image.sif",
			env:   []string{"APPTAINER_CACHEDIR=/work/apptainer/cache", "APPTAINER_TMPDIR=/work/apptainer"},
		},
		{
			name: "charliecloud", dir: "charliecloud",
			load0: "ch-image --storage=/work/charliecloud/ch pull REF image >&2",
			exec:  "ch-run --storage=/work/charliecloud/ch image --",
		},
		{
			name: "podman", dir: "podman",
			load0: "podman pull -q REF >&2",
			exec:  "podman run --rm --network=none --cgroups=disabled REF",
		},
		{
			name: "skopeo, umoci, crun", dir: "umoci",
			load0: "skopeo copy -q docker://REF oci:oci:1 && umoci unpack --rootless --image oci:1 bundle >&2 && rm -rf oci",
			exec:  "crun --root /run/user/peer/crun --cgroup-manager=disabled run -b", bundle: "bundle",
			first: printFirst + "exec crun --root /run/user/peer/crun --cgroup-manager=disabled run -b bundle first",
		},
	}
	for i := range all {
		if all[i].first == "" {
			all[i].first = "exec " + all[i].exec + " echo first"
		}
		all[i].first = strings.ReplaceAll(all[i].first, "REF", reference)
		all[i].load0 = strings.ReplaceAll(all[i].load0, "REF", reference)
		all[i].exec = strings.ReplaceAll(all[i].exec, "REF", reference)
	}
	return all
}

// printFirst changes a bundle by hand, as its user would.
const printFirst = `tr -d '\n' <bundle/config.json >config.json && ` +
	`sed 's/"terminal": *true/"terminal": false/; s/"args": *\[[^]]*\]/"args": ["echo", "first"]/' config.json >bundle/config.json && `
