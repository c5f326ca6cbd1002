//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// scrunJobScenarios are about the job that a container becomes.
var scrunJobScenarios = []podmanScenario{
	{name: "what is asked of Slurm", run: func(p *podman) {
		p.script(0, "2 hello\n2 hello\n", "echo $SLURM_JOB_NUM_NODES $SLURM_JOB_NAME", "-e", "SCRUN_JOB_NUM_NODES=2", "-e", "SCRUN_JOB_NAME=hello")
		r := p.as(p.user, slices.Concat([]string{"env", "SCRUN_JOB_NAME=callers"}, quietly, []string{"run", "--rm", "mini", "sh", "-c", "echo $SLURM_JOB_NAME"})...)
		p.is(r, 0, "callers\n")
	}},
	{name: "annotations", run: func(p *podman) {
		p.script(0, "3\n3\n3\n", "echo $SLURM_NTASKS", "--annotation", "org.ocishim.slurm.ntasks=3")
		p.fails(126, "unknown annotation", "run", "--rm", "--annotation", "org.ocishim.slurm.nothing=3", "mini", "true")
	}},
	{name: "the site's options", run: func(p *podman) {
		p.site("[scrun]\noptions = ['--job-name=sites', '--ntasks=2']\n")
		defer p.site("")
		p.script(0, "sites 1\n", "echo $SLURM_JOB_NAME $SLURM_NTASKS", "-e", "SCRUN_NTASKS=1")
	}},
	{name: "no program of the host by an image", run: func(p *podman) {
		p.fails(126, "acts on the host", "run", "--rm", "-e", "SCRUN_PROLOG=/bin/true", "mini", "true")
	}},
	{name: "in a job that is there", run: func(p *podman) {
		r := p.as(p.user, slices.Concat([]string{"salloc", "-Q", "env"}, quietly,
			[]string{"run", "--rm", "mini", "sh", "-c", "echo $SLURM_STEP_ID; exit 3"})...)
		p.is(r, 3, "0\n")
	}},
	{name: "allocation refused", run: func(p *podman) {
		p.fails(126, "allocation refused: invalid partition specified: nope", "run", "--rm", "-e", "SCRUN_PARTITION=nope", "mini", "true")
	}},
	{name: "cancelled while pending", run: func(p *podman) {
		defer p.fill()()
		t := p.pending()
		p.admin("scancel", "-n", "pending")
		r := p.wait(t)
		if r.status != 126 || !strings.Contains(r.stderr, "job cancelled while pending") {
			p.failf("no clear failure", "%+v", r)
		}
	}},
	{name: "cancelled", run: func(p *podman) { p.jobEnds("was cancelled", "143", func(job string) { p.admin("scancel", job) }) }},
	{name: "time limit", run: func(p *podman) {
		p.jobEnds("reached its time limit", "143", func(job string) { p.admin("scontrol", "update", "JobId="+job, "EndTime=now") })
	}},
	{name: "preempted", run: func(p *podman) {
		p.jobEnds("was preempted by another job", "143", func(string) {
			p.is(p.as(p.user, "salloc", "-Q", "-p", "high", "-N2", "--exclusive", "true"), 0, "")
		})
	}},
	{name: "node lost", run: func(p *podman) {
		var node string
		defer func() { _, _ = p.asRoot("scontrol", "update", "NodeName="+node, "State=resume") }()
		p.jobEnds("lost one of its nodes", "125", func(job string) {
			node = field(p.admin("scontrol", "-o", "show", "job", job), "NodeList")
			p.admin("scontrol", "update", "NodeName="+node, "State=down", "Reason=test")
		})
	}},
	{name: "a volume that is not shared", run: func(p *podman) {
		p.site("[scrun]\nshared = ['/home', '/scratch']\n")
		defer p.site("")
		p.script(0, "", "true", "-v", "/scratch:/v")
		p.fails(126, "volume not shared by the compute nodes", "run", "--rm", "-v", "/opt:/v", "mini", "true")
	}},
	{name: "bundles elsewhere", run: func(p *podman) {
		p.site("[scrun]\nbundles = '/scratch'\n")
		defer p.site("")
		p.script(3, "/scratch\n", "dirname $SLURM_CONTAINER; exit 3")
		p.equal("left there", strings.TrimSpace(p.admin("ls", "/scratch")), "")
	}},
	{name: "disk full while staging", run: func(p *podman) {
		p.admin("sh", "-c", "mkdir -p /var/full && mount -t tmpfs -o size=64k,mode=1777 tmpfs /var/full")
		defer func() { _, _ = p.asRoot("umount", "-l", "/var/full") }()
		p.site("[scrun]\nstaging = 'sbcast'\nnode_dir = '/var/full'\n")
		defer p.site("")
		p.fails(126, "stage in: copy the bundle to /var/full", "run", "--rm", "mini", "true")
		p.equal("left there", strings.TrimSpace(p.admin("ls", "/var/full")), "")
	}},
	{name: "staging by sbcast", run: func(p *podman) {
		p.site("[scrun]\nstaging = 'sbcast'\nnode_dir = '/var/tmp'\n")
		defer p.site("")
		r := p.call("run", "--rm", "mini", "sh", "-c", "case $SLURM_CONTAINER in /var/tmp/ocishim-*) cat /etc/os-release | wc -l;; esac; exit 3")
		p.is(r, 3, "1\n")
		p.daemon("box", "echo ready; exec sleep 1000")
		p.is(p.call("exec", "box", "sh", "-c", "exit 5"), 5, "")
		p.do("rm", "-f", "-t", "0", "box")
		p.equal("left on the node", strings.TrimSpace(p.admin("sh", "-c", "ls -d /var/tmp/ocishim-* 2>/dev/null || :")), "")
	}},
	{name: "staging by the site's program", run: func(p *podman) {
		p.admin("sh", "-c", "cat >/usr/local/bin/stage <<'END'\n"+siteStaging+"END\nchmod 755 /usr/local/bin/stage")
		p.site("[scrun]\nstaging = 'command'\nstage_in = ['/usr/local/bin/stage', 'in']\nstage_out = ['/usr/local/bin/stage', 'out']\n")
		defer p.site("")
		p.script(4, "/scratch/staged\n", "dirname $SLURM_CONTAINER; exit 4")
		p.equal("left on the node", strings.TrimSpace(p.admin("ls", "/scratch/staged")), "")
		p.admin("sh", "-c", "printf '#!/bin/sh\\necho no space left >&2; exit 1\\n' >/usr/local/bin/stage")
		p.fails(126, "no space left", "run", "--rm", "mini", "true")
	}},
	{name: "staging by rsync", run: func(p *podman) {
		p.write("/etc/ocishim/stage", fromDocs(p, "scrun.md", "This example uses rsync"), 0o755)
		p.site("[scrun]\nstaging = 'command'\nstage_in = ['/etc/ocishim/stage', 'in']\nstage_out = ['/etc/ocishim/stage', 'out']\n")
		defer p.site("")
		r := p.call("run", "--name", "box", "-e", "SCRUN_JOB_NUM_NODES=2", "mini", "sh", "-c",
			`case $SLURM_CONTAINER in /scratch/1000/*) test -O /etc/os-release && echo $(wc -l </etc/os-release) $(stat -c %a /usr/bin);; esac; exit 3`)
		p.is(r, 3, "1 755\n1 755\n")
		p.do("rm", "box")
		p.equal("left on the nodes", strings.TrimSpace(p.admin("ls", "/scratch/1000")), "")
	}},
}

// fromDocs returns the first block of code after some words in a document, to test that it works.
func fromDocs(p *podman, document, after string) string {
	data, err := os.ReadFile(filepath.Join(repo, "docs", document))
	if err != nil {
		p.failf("test error", "%v", err)
	}
	_, text, found := strings.Cut(string(data), "\n"+after)
	_, text, foundBlock := strings.Cut(text, "\n```sh\n")
	text, _, closed := strings.Cut(text, "```\n")
	if !found || !foundBlock || !closed {
		p.failf("test error", "no code after %q in %s", after, document)
	}
	return text
}

// write writes a file of the cluster's machine.
func (p *podman) write(path, text string, mode os.FileMode) {
	err := os.MkdirAll(p.onHost(filepath.Dir(path)), 0o755)
	if err == nil {
		err = os.WriteFile(p.onHost(path), []byte(text), mode)
	}
	if err != nil {
		p.failf("test error", "%v", err)
	}
}

// siteStaging is a site's program for a file system that all compute nodes share.
const siteStaging = `#!/bin/sh
set -e
to=/scratch/staged/$OCISHIM_TOKEN
case $1 in
in)
	mkdir -p "$to"
	cp "$OCISHIM_CONFIG" "$to/config.json"
	cp -R "$OCISHIM_ROOTFS" "$to/rootfs"
	echo "$to" ;;
out) rm -rf "$to" ;;
esac
`

// site writes the site's configuration; empty for none.
func (p *podman) site(text string) {
	p.admin("sh", "-c", `mkdir -p /etc/ocishim && printf '%s' "$1" >/etc/ocishim/config.toml`, "sh", text)
}

// fill occupies all compute nodes, until empty is called.
func (p *podman) fill() (empty func()) {
	p.begin(p.user, nil, nil, "salloc", "-Q", "-N2", "--exclusive", "-J", "all", "sleep", "1000")
	p.until("nodes are not full", 10*time.Second, func() bool { return strings.TrimSpace(p.admin("squeue", "-h", "-o", "%T")) == "RUNNING" })
	return func() {
		_, _ = p.asRoot("scancel", "-n", "all")
		_, _ = p.asRoot("pkill", "-x", "sleep", "-u", p.user)
	}
}

// jobEnds ends the job of a container, and expects a message with the reason. An empty status
// stands for any.
func (p *podman) jobEnds(why, status string, end func(job string)) {
	p.daemon("box", "echo ready; exec sleep 1000")
	job := p.theJob()
	end(job)
	got := p.do("wait", "box")
	if status != "" {
		p.equal("exit status", got, status)
	}
	if logs := p.call("logs", "box"); !strings.Contains(logs.stderr, "ocishim: error: job "+job+" "+why) {
		p.failf("no clear message", "%+v, want that job %s %s", logs, job, why)
	}
}
