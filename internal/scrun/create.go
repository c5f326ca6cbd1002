package scrun

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// Options says how to create a container from its bundle.
type Options struct {
	Env           []string // of the caller
	Site          Site
	Host          Host
	PidFile       string
	ConsoleSocket string
	Log           Log

	// Progress gets messages about what create waits for, with a level of logrus.
	Progress func(level, message string)

	inForeground bool // set by Run
}

// Create asks Slurm for an allocation, waits for it, stages the bundle, and leaves an anchor
// that waits for Start. If it fails, it leaves nothing behind.
func Create(s *Store, b *bundle.Bundle, o Options) error {
	_, err := create(s, b, o)
	return err
}

// Run creates and starts the container, waits for its end, and returns its exit status. It
// removes the container unless keep is set. The container gets our standard streams, even if
// they are a terminal.
func Run(s *Store, b *bundle.Bundle, o Options, keep bool) (int, error) {
	o.inForeground = true
	cmd, err := create(s, b, o)
	if err != nil {
		return 0, err
	}
	go passSignals(cmd.Process)
	c, err := s.Get(b.ID)
	if err == nil {
		err = c.Start()
	}
	if err != nil && c != nil {
		if derr := c.Delete(true); derr == nil {
			return 0, err
		}
	}
	status := statusOf(cmd.Wait())
	if keep || err != nil {
		return status, err
	}
	return status, c.Delete(true)
}

func create(s *Store, b *bundle.Bundle, o Options) (*exec.Cmd, error) {
	r, err := newRecord(b, o)
	if err != nil {
		return nil, err
	}
	spec, err := remoteSpec(b.Spec, b.ID, b.Rootfs, o.Site.Shared)
	if err != nil {
		return nil, err
	}
	if err := checkStaging(b, o.Site); err != nil {
		return nil, err
	}
	c, err := s.claim(*r)
	if err != nil {
		return nil, err
	}
	cmd, err := c.create(b, spec, o)
	if err != nil {
		if derr := c.Delete(true); derr != nil && !errors.Is(derr, entry.ErrNotFound) {
			err = fmt.Errorf("%w; and clean up: %w", err, derr)
		}
		return nil, fmt.Errorf("create container %q: %w", b.ID, err)
	}
	return cmd, nil
}

// newRecord returns the record of a container, before anything of it exists.
func newRecord(b *bundle.Bundle, o Options) (*Record, error) {
	self, err := process.Identify(os.Getpid())
	if err != nil {
		return nil, err
	}
	token := make([]byte, 8)
	if _, err := rand.Read(token); err != nil {
		return nil, err
	}
	req, err := newRequest(b, o)
	if err != nil {
		return nil, err
	}
	r := &Record{
		ID: b.ID, Bundle: b.Dir, Rootfs: b.Rootfs, Created: time.Now(), Annotations: b.Spec.Annotations,
		Boot: process.BootID(), Numbering: process.Numbering(), Creator: self, Phase: entry.Creating, Token: hex.EncodeToString(token), Host: o.Host,
		Args: absoluteCommand(b.Rootfs, b.Spec.Mounts, b.Spec.Process, b.Spec.Process.Args), Terminal: b.Spec.Process.Terminal, Network: hasNetwork(b.Spec), Log: o.Log,
		Job: lookUp(o.Env, "SLURM_JOB_ID"), Nodes: lookUp(o.Env, "SLURM_JOB_NODELIST"),
	}
	r.Foreign, r.OwnTerminal = r.Job != "", r.Terminal && o.inForeground
	if r.Foreign && !isNumber(r.Job) {
		return nil, fmt.Errorf("SLURM_JOB_ID is %q, not a number", r.Job)
	}
	r.Allocate, r.Launch = req.split(r.Foreign)
	return r, nil
}

// newRequest collects the job options. Later sources override earlier ones: the site, the
// engine's limits, annotations, the caller's variables, and the container's variables.
func newRequest(b *bundle.Bundle, o Options) (request, error) {
	req := request{"job-name": jobName(b)}
	for _, setting := range o.Site.Options {
		if err := req.add(setting); err != nil {
			return nil, err
		}
	}
	unclear := req.addResources(b.Spec)
	if err := req.addAnnotations(b.Spec.Annotations); err != nil {
		return nil, err
	}
	if err := req.addVariables(o.Env, false); err != nil {
		return nil, err
	}
	if err := req.addVariables(b.Spec.Process.Env, true); err != nil {
		return nil, err
	}
	if unclear != nil && !req.asksForGPUs() {
		return nil, unclear
	}
	return req, nil
}

// jobName returns the beginning of the container's id, as engines show it.
func jobName(b *bundle.Bundle) string {
	const shown = 12
	if len(b.ID) > shown {
		return b.ID[:shown]
	}
	return b.ID
}

func isNumber(s string) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && n > 0
}

// create carries out the rest of Create, once the entry is claimed.
func (c *Container) create(b *bundle.Bundle, spec *specs.Spec, o Options) (*exec.Cmd, error) {
	var tty *os.File
	if c.Terminal && !o.inForeground {
		if o.ConsoleSocket == "" {
			return nil, errors.New("process.terminal needs --console-socket")
		}
		var err error
		if tty, err = offerTerminal(o.ConsoleSocket, b.Spec.Process.ConsoleSize); err != nil {
			return nil, err
		}
		defer tty.Close()
	}
	cmd, parent, err := c.startAnchor(tty)
	if err != nil {
		return nil, err
	}
	defer parent.Close() // unless it was released before, the anchor ends then
	stop := withdrawOn(parent)
	err = await(parent, o.Progress)
	if sig := stop(); sig != nil {
		return nil, fmt.Errorf("%w: %s", ErrInterrupted, sig)
	}
	if err != nil {
		return nil, err
	}
	if err := c.reload(); err != nil {
		return nil, err
	}
	if err := c.stageIn(b, spec, o.Site); err != nil {
		_ = c.stageOut()
		return nil, err
	}
	if err := c.update(func(r *Record) { r.Phase = entry.Created }); err != nil {
		return nil, err
	}
	if err := writePidFile(o.PidFile, cmd.Process.Pid); err != nil {
		return nil, err
	}
	if _, err := parent.Write([]byte{'\n'}); err != nil {
		return nil, fmt.Errorf("tell the anchor: %w", err)
	}
	return cmd, nil
}

func writePidFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	if err := writeFile(path, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	return nil
}

// startAnchor starts the anchor of the entry, with our standard streams, or with a terminal
// for all three.
func (c *Container) startAnchor(tty *os.File) (*exec.Cmd, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("start anchor: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "anchor"), os.NewFile(uintptr(fds[1]), "parent")
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe", AnchorVerb, c.entry.Dir())
	cmd.Args[0] = "ocishim"
	cmd.Env, cmd.Dir = c.Host.environment("GOMAXPROCS=1", "GODEBUG=madvdontneed=1"), "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if tty != nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	}
	cmd.ExtraFiles = []*os.File{theirs} // syncFile
	// With our own terminal it stays in our session, so that srun is notified of its size.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: !c.OwnTerminal}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, nil, fmt.Errorf("start anchor: %w", err)
	}
	return cmd, ours, nil
}

// await reads the anchor's reports until it is ready.
func await(from io.Reader, progress func(level, message string)) error {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		var r report
		if err := bundle.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("read from the anchor: %w", err)
		}
		switch {
		case r.Ready:
			return nil
		case r.Kind == "refused":
			return fmt.Errorf("%w: %s", ErrRefused, r.Error)
		case r.Kind == "cancelled":
			return fmt.Errorf("%w: %s", ErrCancelled, r.Error)
		case r.Error != "":
			return errors.New(r.Error)
		case progress != nil && r.Message != "":
			progress(r.Level, r.Message)
		}
	}
	return errors.New("the anchor was killed")
}

// checkStaging refuses a root that only this host can see, if the bundle is not copied to the
// compute nodes.
func checkStaging(b *bundle.Bundle, s Site) error {
	if s.Staging != StageNone && s.Staging != "" {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(b.Rootfs, &st); err != nil {
		return nil // the compute node will report it
	}
	var parent unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(b.Rootfs), &parent); err != nil {
		return nil
	}
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC && st.Fsid != parent.Fsid {
		return fmt.Errorf("%s is an overlay that only this host has mounted: use the storage driver vfs, or set scrun.staging", b.Rootfs)
	}
	return nil
}
