package scrun

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// searchPath is the PATH for Slurm's commands. The caller's PATH is the engine's, and may be
// set by the user.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/slurm/bin"

// patience is how long a short command of Slurm's may take: slurmctld may be restarting, and
// the command tries again by itself in the meantime.
const patience = 30 * time.Second

// A Host says as which user, and with which environment, Slurm's commands run. Nothing of
// the environment comes from the image. It is part of the record, since an engine calls
// start and delete with almost no environment.
type Host struct {
	UID       int    `json:"uid"` // on the host, outside of the engine's user namespace
	GID       int    `json:"gid"`
	User      string `json:"user"`
	Home      string `json:"home"`
	SlurmConf string `json:"slurmConf,omitempty"`
	// Mapped says that we are in the user namespace of a rootless engine, in which the user
	// is root. Slurm's commands then run in a user namespace of their own, as the user.
	Mapped bool `json:"mapped,omitempty"`
}

// NewHost finds out who calls. From env, the caller's environment, it takes SLURM_CONF, HOME
// and USER.
func NewHost(env []string) (Host, error) {
	h := Host{UID: os.Geteuid(), GID: os.Getegid(), User: lookUp(env, "USER"), Home: lookUp(env, "HOME")}
	uid, mapped, err := outside("/proc/self/uid_map", h.UID)
	if err != nil {
		return h, err
	}
	gid, _, err := outside("/proc/self/gid_map", h.GID)
	if err != nil {
		return h, err
	}
	h.UID, h.GID, h.Mapped = uid, gid, mapped
	if conf := lookUp(env, "SLURM_CONF"); filepath.IsAbs(conf) {
		h.SlurmConf = conf
	}
	if !filepath.IsAbs(h.Home) {
		h.Home = "/"
	}
	return h, nil
}

// outside returns the id in the parent user namespace, and whether that differs from ours.
func outside(path string, id int) (int, bool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, false, fmt.Errorf("read the user namespace: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		var inner, outer, size int
		if _, err := fmt.Sscan(line, &inner, &outer, &size); err != nil {
			return 0, false, fmt.Errorf("read %s: %w", path, err)
		}
		if id >= inner && id-inner < size {
			return outer + id - inner, outer != inner || size < 1<<31, nil
		}
	}
	return 0, false, fmt.Errorf("read %s: id %d is not mapped", path, id)
}

// lookUp returns the last value of the variable, empty if it is not set.
func lookUp(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// environment returns the environment of programs of the host.
func (h Host) environment(more ...string) []string {
	env := []string{"PATH=" + searchPath, "LANG=C", "LC_ALL=C", "HOME=" + h.Home}
	if h.User != "" && (!h.Mapped || h.User != "root") {
		env = append(env, "USER="+h.User, "LOGNAME="+h.User)
	}
	if h.SlurmConf != "" {
		env = append(env, "SLURM_CONF="+h.SlurmConf)
	}
	return append(env, more...)
}

// command returns a command of Slurm's, to run as the user, with our environment, in /.
func (h Host) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, find(name), args...)
	cmd.Env, cmd.Dir = h.environment(), "/"
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = h.asUser(&syscall.SysProcAttr{})
	return cmd
}

// asUser makes the process run as the user, if we are root in the namespace of a rootless
// engine: slurmctld compares the uid that a command reports with the uid of its credential.
func (h Host) asUser(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	if h.Mapped {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: h.UID, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: h.GID, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// find looks for a program in searchPath, never in the caller's PATH.
func find(name string) string {
	for dir := range strings.SplitSeq(searchPath, ":") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return filepath.Join("/usr/bin", name) // the error names it
}

// output runs a short command of Slurm's and returns what it prints. The error has the
// command's own messages, in one line.
func (h Host) output(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := h.command(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("run %s: no answer after %s: %s", name, patience, inOneLine(errs.String()))
	}
	if err != nil {
		if said := inOneLine(errs.String()); said != "" {
			return "", fmt.Errorf("run %s: %s", name, said)
		}
		return "", fmt.Errorf("run %s: %w", name, err)
	}
	return out.String(), nil
}

// inOneLine joins the lines of a message, without the name of the program.
func inOneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for _, prefix := range []string{"salloc: ", "srun: ", "scancel: ", "squeue: ", "scontrol: ", "error: "} {
			line = strings.TrimPrefix(line, prefix)
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// jobOf returns the number of the user's job that has the token in its comment, "" if there
// is no such job.
func (h Host) jobOf(token string) (string, error) {
	out, err := h.output("squeue", "--noheader", "--user", strconv.Itoa(h.UID), "--format", "%A %k")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		job, comment, _ := strings.Cut(strings.TrimSpace(line), " ")
		if comment == commentOf(token) {
			return job, nil
		}
	}
	return "", nil
}

func commentOf(token string) string { return "ocishim-" + token }

// cancel ends the job. It is no error if the job has ended already.
func (h Host) cancel(job string) error {
	_, err := h.output("scancel", "--quiet", job)
	if err != nil && (strings.Contains(err.Error(), "Invalid job id") || strings.Contains(err.Error(), "already completing or completed")) {
		return nil
	}
	return err
}

// jobStates returns Slurm's names for the state of the job (squeue(1), JOB STATE CODES). A
// completing job also has the state in which it ends. A job that Slurm has forgotten has
// none.
func (h Host) jobStates(job string) ([]string, error) {
	out, err := h.output("squeue", "--json", "--states=all", "--job", job)
	if err != nil { // Slurm may be built without JSON
		out, err = h.output("squeue", "--noheader", "--states=all", "--format=%T", "--job", job)
		return strings.Fields(out), err
	}
	var answer struct {
		Jobs []struct {
			ID    int       `json:"job_id"`
			State stateList `json:"job_state"`
		} `json:"jobs"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return nil, fmt.Errorf("read squeue --json: %w", err)
	}
	for _, j := range answer.Jobs {
		if strconv.Itoa(j.ID) == job {
			return j.State, nil
		}
	}
	return nil, nil
}

// A stateList is a list of names. Slurm before 23.11 writes it as one string.
type stateList []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *stateList) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]string)(l))
	}
	var one string
	err := json.Unmarshal(data, &one)
	*l = stateList{one}
	return err
}
