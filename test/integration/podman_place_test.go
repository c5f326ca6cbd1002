//go:build integration

package integration

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// podmanPlace is a cluster's machine with Podman, set up for one user.
type podmanPlace struct {
	*cluster
	user string
}

func newPodmanPlace(slurm, user, view string) *podmanPlace {
	name := strings.TrimSuffix(strings.ReplaceAll("it-podman-"+slurm+"-"+user+"-"+view, ".", ""), "-")
	return &podmanPlace{&cluster{column: column{runtime: "ocishim", slurm: slurm}, name: name, view: view}, user}
}

// podmanSetup configures Podman as a site would: ocishim is the default. The limits of the machine
// that runs the tests may be lower than Podman's defaults, and the root of a cluster is an overlay
// in memory, on which no other overlay is possible. Only alice has subordinate ids.
const podmanSetup = `set -e
mkdir -p /etc/containers /scratch
chmod 777 /scratch
cat >/etc/containers/containers.conf <<END
[containers]
default_ulimits=["nofile=1024:4096","nproc=4096:4096"]
netns="none"
[engine]
cgroup_manager="cgroupfs"
events_logger="file"
init_path="/usr/bin/catatonit"
runtime="ocishim"
[engine.runtimes]
ocishim=["/usr/local/bin/ocishim"]
END
sed 's/^runtime=.*/runtime="runc"/' /etc/containers/containers.conf >/etc/containers/runc.conf
cat >/etc/containers/storage.conf <<END
[storage]
driver="vfs"
runroot="/run/containers/storage"
graphroot="/run/containers/graph"
END
echo alice:100000:65536 | tee /etc/subuid >/etc/subgid
`

// podmanSetup2605 is for Podman 5.8, beside Slurm 26.05, which uses root's directories for every
// user.
const podmanSetup2605 = `sed -i /root=/d /etc/containers/storage.conf`

// up starts the machine and gives the user the image mini.
func (place *podmanPlace) up(t *testing.T) {
	t.Helper()
	place.upAs(t, 1)
}

// upAs starts it with a number of compute nodes.
func (place *podmanPlace) upAs(t *testing.T, nodes int) {
	t.Helper()
	place.start(t, nodes)
	setup := podmanSetup
	if place.slurm == "26.05" {
		setup += podmanSetup2605
	}
	if out, err := place.asRoot("sh", "-c", setup); err != nil {
		t.Fatalf("setup: %v: %s", err, out)
	}
	ctx, cancel := pace.Context(context.Background(), time.Minute)
	defer cancel()
	rootfs := filepath.Join(repo, sourceBundle, "rootfs")
	out, err := place.command(ctx, place.user, "sh", "-c",
		"tar --owner=0 --group=0 -C '"+rootfs+"' -c . | podman import -q - mini").CombinedOutput()
	if err != nil {
		t.Fatalf("podman import: %v: %s", err, out)
	}
}

func (place *podmanPlace) holds(who whose) bool {
	switch who {
	case notSingle:
		return place.user != "bob"
	case rootOnly:
		return place.user == "root"
	case rootless:
		return place.user != "root"
	}
	return true
}

// clear removes all pods and containers of the user.
func (place *podmanPlace) clear() {
	ctx, cancel := pace.Context(context.Background(), 30*time.Second)
	defer cancel()
	_ = place.command(ctx, place.user, "sh", "-c", "exec >/dev/null 2>&1; podman pod rm -f -a -t 0; podman rm -f -a -t 0; rm -rf /scratch/*").Run()
}

// census lists everything that a container might leave: processes, mounts, cgroups, and state of
// ocishim, a line each.
func (place *podmanPlace) census() map[string]bool {
	found := map[string]bool{}
	namespaces := map[string]bool{}
	for _, p := range place.processes() {
		if p.state == "Z" {
			continue // its parent is about to reap it
		}
		found["process "+p.pid+" "+p.cmdline] = true
		proc := place.onHost("/proc/" + p.pid)
		if ns, err := os.Readlink(proc + "/ns/mnt"); err != nil || namespaces[ns] {
			continue
		}
		mounts, _ := os.ReadFile(proc + "/mountinfo")
		for line := range strings.Lines(string(mounts)) {
			found["mount "+strings.Fields(line)[4]] = true
		}
	}
	for kind, patterns := range map[string][]string{
		"cgroup": {"/sys/fs/cgroup"},
		"state":  {"/run/ocishim", "/run/user/*/ocishim", "/tmp/ocishim-*"},
	} {
		for _, pattern := range patterns {
			roots, _ := filepath.Glob(place.onHost(pattern))
			for _, root := range roots {
				for _, dir := range directories(root) {
					found[kind+" "+strings.TrimPrefix(dir, place.root)] = true
				}
			}
		}
	}
	return found
}

func directories(root string) []string {
	out, _ := exec.Command("find", root, "-mindepth", "1", "-type", "d").Output() // some of them disappear meanwhile
	return strings.Fields(string(out))
}

// newSince returns what is new since a census and does not disappear, without what Podman makes
// with the first container and keeps.
func (place *podmanPlace) newSince(before map[string]bool) string {
	var left []string
	pace.Until(settle, func() bool {
		left = left[:0]
		for what := range place.census() {
			if !before[what] && !podmansOwn(what) {
				left = append(left, what)
			}
		}
		return len(left) == 0
	})
	slices.Sort(left)
	return strings.Join(left, "\n")
}

// podmansCgroup matches the cgroups that Podman itself makes: one above all containers, and one for
// a pod, which with version 1 it leaves behind, whatever the runtime. A container's is libpod-ID.
var podmansCgroup = regexp.MustCompile(`/(libpod_parent|conmon|[0-9a-f]{64})$`)

// podmansOwn reports whether it is such a cgroup, the process that keeps a user's namespaces, a
// slurmctld that was restarted, or the directory of a user's states.
func podmansOwn(what string) bool {
	kind, what, _ := strings.Cut(what, " ")
	switch kind {
	case "cgroup":
		return podmansCgroup.MatchString(what)
	case "process":
		return strings.HasSuffix(what, "catatonit -P") || strings.HasSuffix(what, " slurmctld") || strings.HasSuffix(what, ": slurmscriptd")
	case "state":
		return slices.Contains([]string{"/run/ocishim/0", "/run/ocishim/1000", "/run/ocishim/1001"}, what)
	}
	return false
}

// podman is a running scenario.
type podman struct {
	*session
	user string
}

// Some machines have cgroup v1; Podman 5 warns about that at each call.
var quietly = []string{"env", "PODMAN_IGNORE_CGROUPSV1_WARNING=1", "podman"}

func (p *podman) call(args ...string) result {
	return p.as(p.user, slices.Concat(quietly, args)...)
}

// do makes a call that must succeed, and returns its output without the last newline.
func (p *podman) do(args ...string) string {
	r := p.call(args...)
	if r.status != 0 {
		p.failf("podman "+args[0], "%q: status %d: %s%s", args, r.status, cut(r.stdout), cut(r.stderr))
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

func (p *podman) input(stdin io.Reader, args ...string) result {
	return p.wait(p.begin(p.user, stdin, nil, slices.Concat(quietly, args)...))
}

// wants expects a status, the whole output, and nothing on stderr.
func (p *podman) wants(status int, stdout string, args ...string) {
	p.is(p.call(args...), status, stdout)
}

// script expects this result of `podman run --rm FLAGS mini sh -c SCRIPT`.
func (p *podman) script(status int, stdout, script string, flags ...string) {
	p.wants(status, stdout, slices.Concat([]string{"run", "--rm"}, flags, []string{"mini", "sh", "-c", script})...)
}

func (p *podman) is(r result, status int, stdout string) {
	if r.status != status || r.stdout != stdout || r.stderr != "" {
		p.failf("wrong outcome", "status %d, want %d; stdout %q, want %q; stderr %q",
			r.status, status, cut(r.stdout), cut(stdout), cut(r.stderr))
	}
}

// fails expects a failure that names its cause.
func (p *podman) fails(status int, cause string, args ...string) {
	r := p.call(args...)
	if r.status != status || !strings.Contains(strings.ToLower(r.stderr), cause) {
		p.failf("no clear failure", "status %d, want %d; stderr %q, want %q in it", r.status, status, r.stderr, cause)
	}
}

// equal compares what was found with what was expected.
func (p *podman) equal(what, got, want string) {
	if got != want {
		p.failf("wrong "+what, "%s is %q, want %q", what, cut(got), cut(want))
	}
}

// daemon starts a container in the background that runs a script, and waits until the script prints
// "ready".
func (p *podman) daemon(name, script string, flags ...string) {
	p.do(slices.Concat([]string{"run", "-d", "--name", name}, flags, []string{"mini", "sh", "-c", script})...)
	p.logged(name, "ready")
}

// logged waits until the container's output has a line.
func (p *podman) logged(name, line string) {
	p.until("not in the log: "+line, 10*time.Second, func() bool {
		return slices.Contains(strings.Split(p.do("logs", name), "\n"), line)
	})
}

func (p *podman) inspect(name, what string) string {
	return p.do("inspect", "-f", "{{."+what+"}}", name)
}

// file returns the content of a file in /scratch, which host and containers share.
func (p *podman) file(name string) string {
	text, err := os.ReadFile(p.onHost("/scratch/" + name))
	if err != nil {
		p.failf("no file", "%v", err)
	}
	return string(text)
}

// limit returns a command that reads a file of the container's cgroup, of version 2 or 1, as the
// container sees it.
func limit(v2, v1 string) string {
	return fmt.Sprintf("cd /sys/fs/cgroup; cat %s %s 2>/dev/null || :", v2, v1)
}
