//go:build integration

package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// settle is how long Slurm may take, on a quick machine, to clean up after the user's command has
// returned.
const settle = 4 * time.Second

// leftovers returns the first thing that should be gone and is not: its kind, for the table, and
// what it is; "" for none.
func (s *session) leftovers() (kind, what string) {
	pace.Until(settle, func() bool {
		kind, what = s.leftover()
		return kind == ""
	})
	return kind, what
}

func (s *session) leftover() (kind, what string) {
	for _, look := range []struct {
		kind string
		find func() string
	}{
		{"process", s.leftProcess},
		{"state", s.leftState},
		{"mount", s.leftMount},
		{"spool directory", s.leftSpool},
		{"cgroup", s.leftCgroup},
		{"file in the image", s.leftInImage},
	} {
		if what := look.find(); what != "" {
			return look.kind, what
		}
	}
	return "", ""
}

// process is a process of the cluster, by its pid there.
type process struct {
	pid     string
	uid     string
	parent  string
	state   string
	cmdline string
}

// processes returns all processes of the cluster's pid namespace and of those within it.
func (c *cluster) processes() []process {
	var all []process
	dirs, _ := filepath.Glob(c.onHost("/proc/[0-9]*"))
	for _, dir := range dirs {
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			continue // it has ended meanwhile
		}
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		p := process{pid: filepath.Base(dir), cmdline: strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " "))}
		for line := range strings.Lines(string(status)) {
			words := strings.Fields(line)
			switch {
			case len(words) < 2:
			case words[0] == "Uid:":
				p.uid = words[1]
			case words[0] == "PPid:":
				p.parent = words[1]
			case words[0] == "State:":
				p.state = words[1]
			}
		}
		all = append(all, p)
	}
	return all
}

func (s *session) leftProcess() string {
	for _, p := range s.processes() {
		for user, uid := range users {
			if p.uid == fmt.Sprint(uid) && p.state != "Z" {
				return fmt.Sprintf("%s of %s", cut(p.cmdline), user)
			}
		}
		if strings.HasPrefix(p.cmdline, "slurmstepd: [") {
			return p.cmdline
		}
	}
	return ""
}

// leftState looks wherever a runtime keeps the state of its containers. For a job with its own pid
// namespace the Epilog removes the state, but not here: only from the host's pid namespace is it
// certain that no process of such a container runs, and a cluster has another one.
func (s *session) leftState() string {
	if s.namespaces == "pid" {
		return ""
	}
	roots := []string{"/run/ocishim/*"}
	if s.runtime != "ocishim" {
		roots = append(roots, "/tmp") // the documented --root of 22.05
	}
	for _, uid := range users {
		roots = append(roots, fmt.Sprintf("/run/user/%d", uid), fmt.Sprintf("/tmp/ocishim-%d", uid))
	}
	for _, root := range roots {
		found, _ := filepath.Glob(s.onHost(root))
		for _, dir := range found {
			if name := firstFile(dir, s.onHost(repo)); name != "" {
				return name
			}
		}
	}
	return ""
}

// firstFile returns any file below dir, but not in except. Empty directories and empty lock files
// do not count.
func firstFile(dir, except string) (name string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if path == except {
			return fs.SkipDir
		}
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil && info.Size() == 0 && strings.Contains(entry.Name(), "lock") {
			return nil
		}
		name = strings.TrimPrefix(path, filepath.Dir(dir))
		return fs.SkipAll
	})
	return name
}

// leftMount finds mounts that were made in the cluster's own mount namespace.
func (s *session) leftMount() string {
	text, err := os.ReadFile(s.onHost("/proc/1/mountinfo"))
	if err != nil {
		return "no cluster"
	}
	for line := range strings.Lines(string(text)) {
		at := strings.Fields(line)[4]
		if strings.HasPrefix(at, repo+"/") {
			continue // hack/cluster's, wherever the repository lies
		}
		for _, prefix := range []string{"/home/", "/tmp/", "/run/", "/var/spool/", "/var/lib/", "/out"} {
			if strings.HasPrefix(at, prefix) {
				return at
			}
		}
	}
	return ""
}

func (s *session) leftSpool() string {
	found, _ := filepath.Glob(s.onHost("/var/spool/slurmd/*/oci-job*"))
	if len(found) == 0 {
		return ""
	}
	return strings.TrimPrefix(found[0], s.root)
}

// slurmCgroup matches the names of Slurm's own cgroups, of v1 and v2. Empty ones stay if slurmstepd
// was killed, and a process in one is reported as that process.
var slurmCgroup = regexp.MustCompile(`^(slurm.*|uid_\d+|job_\d+|step_\w+|task_\w+|user|system|slurmd|system\.slice|.*slurmstepd\.scope|init\.scope|n\d+\.service)$`)

// leftCgroup returns a cgroup that a runtime made, anywhere in the cluster's.
func (s *session) leftCgroup() (left string) {
	root := s.onHost("/sys/fs/cgroup")
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		at := strings.TrimPrefix(path, root)
		hierarchy := at == "" || strings.Count(at, "/") == 1 && !isFile(root+"/cgroup.procs")
		if err != nil || !entry.IsDir() || hierarchy || slurmCgroup.MatchString(entry.Name()) {
			return nil
		}
		left = at
		return fs.SkipAll
	})
	return left
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (s *session) leftInImage() string {
	for tree, before := range s.rootfs {
		after, err := listing(tree)
		if err != nil {
			return err.Error()
		}
		if after == before {
			continue
		}
		known := map[string]bool{}
		for line := range strings.Lines(before) {
			known[line] = true
		}
		for line := range strings.Lines(after) {
			if !known[line] {
				return strings.TrimSpace(line)
			}
		}
		return "something is gone from " + tree
	}
	return ""
}
