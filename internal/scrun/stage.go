package scrun

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// localDir returns the container's own directory, below parent, for the config.json that the
// compute nodes get.
func (c *Container) localDir(parent string) string {
	return filepath.Join(parent, "ocishim-scrun-"+c.Token)
}

// remoteRoot is the root's path in a bundle for the compute nodes.
const remoteRoot = "rootfs"

// stageIn brings the bundle to where the compute nodes find it. Before it makes something, it
// records what will have to be removed.
func (c *Container) stageIn(b *bundle.Bundle, spec *specs.Spec, s Site) error {
	var err error
	switch s.Staging {
	case StageSbcast:
		err = c.stageBySbcast(b, spec, s)
	case StageCommand:
		err = c.stageByCommand(b, spec, s)
	default:
		err = c.stageInPlace(b, spec, s)
	}
	if err != nil {
		return fmt.Errorf("stage in: %w", err)
	}
	return nil
}

// stageInPlace writes only a config.json; root and volumes stay where they are.
func (c *Container) stageInPlace(b *bundle.Bundle, spec *specs.Spec, s Site) error {
	dir := c.localDir(b.Dir)
	if s.Bundles != "" {
		dir = c.localDir(c.Host.expand(s.Bundles))
	}
	if err := c.update(func(r *Record) { r.LocalDir, r.Remote = dir, dir }); err != nil {
		return err
	}
	if err := c.writeRemote(spec); err != nil {
		return err
	}
	return os.Symlink(b.Rootfs, filepath.Join(dir, remoteRoot)) // where Slurm 22.05 looks, whatever root.path is
}

// writeRemote writes the config.json for the compute nodes.
func (c *Container) writeRemote(spec *specs.Spec) error {
	spec.Process.Env = append(spec.Process.Env, outputVariables(&c.Record)...)
	return writeConfig(c.LocalDir, spec)
}

// sbcastScript unpacks the archive from sbcast. All files become the user's: compute nodes
// have no subordinate ids.
const sbcastScript = `umask 077 && cd "$1" && mkdir -p rootfs && tar -x -f bundle.tar --no-same-owner --delay-directory-restore && rm -f bundle.tar && chmod u+rwx rootfs`

// stageBySbcast copies config.json and the root, as one archive, to a directory of the
// container's own on every node of the job.
func (c *Container) stageBySbcast(b *bundle.Bundle, spec *specs.Spec, s Site) error {
	if c.Nodes == "" {
		return errors.New("sbcast needs the list of the job's nodes, and Slurm gave none")
	}
	local := c.localDir(b.Dir)
	node := filepath.Join(c.Host.expand(s.NodeDir), "ocishim-"+c.Token)
	if err := c.update(func(r *Record) { r.LocalDir, r.Remote, r.NodeDir = local, node, node }); err != nil {
		return err
	}
	spec.Root.Path = remoteRoot
	if err := c.writeRemote(spec); err != nil {
		return err
	}
	archive := filepath.Join(local, "bundle.tar")
	// Run as the engine's user, who can read all of the root.
	err := c.Host.program("tar", "-c", "-f", archive, "--numeric-owner",
		"-C", local, "config.json", "--transform=s,^\\.$,rootfs,", "--transform=s,^\\./,rootfs/,", "-C", b.Rootfs, ".")
	if err != nil {
		return err
	}
	if err := os.Chmod(archive, 0o600); err != nil {
		return err
	}
	if _, err := c.onNodes("/bin/mkdir", "-m", "700", node); err != nil {
		return err
	}
	err = c.sbcast(archive, node+"/bundle.tar")
	if err == nil {
		_, err = c.onNodes("/bin/sh", "-c", sbcastScript, "sh", node)
	}
	if err != nil { // sbcast does not say so if a disk is full
		return fmt.Errorf("copy the bundle to %s on %s (is the disk full?): %w", node, c.Nodes, err)
	}
	return os.Remove(archive)
}

// sbcast runs Slurm's sbcast(1), with a time limit for large files.
func (c *Container) sbcast(from, to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), stagePatience)
	defer cancel()
	return run(c.Host.command(ctx, "sbcast", "--jobid="+c.Job, "--force", from, to))
}

// stageProcess brings the bundle of a process that exec adds to the compute node, beside the
// container's bundle. If the compute nodes see this host's files, nothing needs doing.
func (c *Container) stageProcess() error {
	if c.Remote == c.LocalDir {
		return nil
	}
	config, err := os.Open(filepath.Join(c.LocalDir, "config.json"))
	if err != nil {
		return err
	}
	defer config.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := c.Host.command(ctx, "srun", c.onNodesArgs("--input=0", "/bin/sh", "-c", `umask 077 && mkdir -p "$1" && cat >"$1/config.json"`, "sh", c.Remote)...)
	cmd.Stdin = config
	return run(cmd)
}

// stagePatience is how long staging may take.
const stagePatience = 30 * time.Minute

// stageByCommand runs the site's program to bring the bundle to the compute nodes. The
// program gets its input in variables, and prints the bundle's path there.
func (c *Container) stageByCommand(b *bundle.Bundle, spec *specs.Spec, s Site) error {
	if len(s.StageIn) == 0 {
		return errors.New("scrun.staging is command, but scrun.stage_in is empty")
	}
	local := c.localDir(b.Dir)
	if err := c.update(func(r *Record) { r.LocalDir, r.StageOut = local, s.StageOut }); err != nil {
		return err
	}
	spec.Root.Path = remoteRoot
	if err := c.writeRemote(spec); err != nil {
		return err
	}
	out, err := c.siteProgram(s.StageIn)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	remote := lines[len(lines)-1]
	if !filepath.IsAbs(remote) {
		return fmt.Errorf("the last line from %s is %q, not the bundle's absolute path on the compute nodes", s.StageIn[0], remote)
	}
	return c.update(func(r *Record) { r.Remote = remote })
}

// siteProgram runs a program of the site's, with an environment that we build.
func (c *Container) siteProgram(argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stagePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.WaitDelay = "/", time.Second
	cmd.Env = c.Host.environment(
		"OCISHIM_ID="+c.ID, "OCISHIM_BUNDLE="+c.Bundle, "OCISHIM_ROOTFS="+c.Rootfs, "OCISHIM_CONFIG="+filepath.Join(c.LocalDir, "config.json"),
		"OCISHIM_TOKEN="+c.Token, "OCISHIM_REMOTE="+c.Remote, "OCISHIM_UID="+strconv.Itoa(c.Host.UID), "OCISHIM_GID="+strconv.Itoa(c.Host.GID),
		"SLURM_JOB_ID="+c.Job, "SLURM_JOB_NODELIST="+c.Nodes,
	)
	var out bytes.Buffer
	cmd.Stdout = &out
	err := run(cmd)
	return out.String(), err
}

// stageOut cleans up on the compute nodes, once, while the job still has them.
func (c *Container) stageOut() error {
	if c.StagedOut {
		return nil
	}
	var failures []error
	if len(c.StageOut) > 0 {
		_, err := c.siteProgram(c.StageOut)
		failures = append(failures, err)
	}
	if c.NodeDir != "" {
		_, err := c.onNodes("/bin/rm", "-rf", "--one-file-system", c.NodeDir)
		failures = append(failures, err)
	}
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("stage out: %w", err)
	}
	return c.update(func(r *Record) { r.StagedOut = true })
}

// unstage removes what stageIn made on this host.
func (c *Container) unstage() error {
	if c.LocalDir == "" {
		return nil
	}
	if err := os.RemoveAll(c.LocalDir); err != nil {
		return fmt.Errorf("remove what was staged: %w", err)
	}
	return nil
}

// expand replaces %u and %U in a directory of the site's. For a user without a name, both are
// the number.
func (h Host) expand(pattern string) string {
	uid := strconv.Itoa(h.UID)
	name := h.User
	if name == "" || h.Mapped && name == "root" || strings.Contains(name, "/") {
		name = uid
	}
	return strings.NewReplacer("%%", "%", "%u", name, "%U", uid).Replace(pattern)
}

// program runs a program of the host as the caller, with our environment.
func (h Host) program(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), stagePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, find(name), args...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = h.environment(), "/", time.Second
	return run(cmd)
}

// run runs the command. The error has the end of its stderr.
func run(cmd *exec.Cmd) error {
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w: %s", filepath.Base(cmd.Path), err, lastLines(errs.String()))
	}
	return nil
}

// lastLines returns the end of a program's messages, in one line.
func lastLines(text string) string {
	const most = 500
	text = inOneLine(text)
	if len(text) > most {
		return "... " + text[len(text)-most:]
	}
	return text
}
