//go:build integration

package integration

import (
	"bytes"
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// TestCgroups runs containers where /sys/fs/cgroup is of version 1, of version 2, or both. Slurm's
// and a user's containers run without a message, although their users can make no cgroup. Root's
// get a cgroup, which is gone afterwards.
func TestCgroups(t *testing.T) {
	prepare(t)
	besideOthers(t)
	for _, place := range []struct{ slurm, view string }{{"24.11", "v1"}, {"24.11", "hybrid"}, {"24.11", "v2"}, {"26.05", "v2"}} {
		t.Run(place.slurm+"_"+place.view, func(t *testing.T) {
			col := column{runtime: "ocishim", slurm: place.slurm, mode: "run"}
			prepareColumn(t, col)
			c := newCluster(t, col, "cgroup-"+place.view)
			c.view = place.view
			t.Cleanup(c.down)
			c.up(t)
			ro := bundle("alice", "ro")
			c.want(t, "alice", "", 0, "1000\n", "srun", "--container", ro, "id", "-u") // alice herself, by the hpc profile
			c.want(t, "alice", "id -u; exit 4", 4, "0\n", "ocishim", "run", "-b", ro, "by-alice")
			c.want(t, "root", "grep -c by-root /proc/self/cgroup >/dev/null && echo in its own; exit 5", 5,
				"in its own\n", "ocishim", "run", "-b", ro, "by-root")
			if left := c.cgroupsNamed("by-"); left != "" {
				t.Errorf("left behind: cgroup %s", left)
			}
		})
	}
}

// want runs a command as a user, with the script as its input. It expects a status, an output, and
// nothing on stderr.
func (c *cluster) want(t *testing.T, user, script string, status int, stdout string, args ...string) {
	t.Helper()
	ctx, cancel := pace.Context(context.Background(), 20*time.Second)
	defer cancel()
	cmd := c.command(ctx, user, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), &out, &errs
	_ = cmd.Run() // the status tells
	said := queueing.ReplaceAllString(errs.String(), "")
	if got := cmd.ProcessState.ExitCode(); got != status || out.String() != stdout || said != "" {
		t.Errorf("%s as %s: status %d, want %d; stdout %q, want %q; stderr %q", args, user, got, status, out.String(), stdout, said)
	}
}

// cgroupsNamed finds a cgroup of the cluster whose name has the prefix.
func (c *cluster) cgroupsNamed(prefix string) (left string) {
	_ = filepath.WalkDir(c.onHost("/sys/fs/cgroup"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.HasPrefix(entry.Name(), prefix) {
			left = path
		}
		return nil
	})
	return left
}
