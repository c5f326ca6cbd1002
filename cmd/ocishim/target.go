package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/internal/stateroot"
	"github.com/ocishim/ocishim/runtime"
)

// A target is what an ID on the command line stands for, and where its state is.
type target struct {
	id     string
	isStep bool       // the ID names a Slurm task
	step   slurm.Step // valid with isStep
	values slurm.Values
	roots  []string // where the state may be, likeliest first
}

// readTargetAsOwner works out the target of the given ID. If the state is a user's it gives up
// root: from then on nothing that the user wrote can do more than the user.
func readTargetAsOwner(c *cli.Context, given string, env slurm.Environment, b *bundle.Bundle) (*target, error) {
	values := env.Values()
	if b != nil {
		values.Bundle, values.Rootfs = b.Dir, b.Rootfs
	}
	id, err := slurm.Expand(given, values)
	if err != nil {
		return nil, err
	}
	if err := entry.CheckID(id); err != nil {
		return nil, err
	}
	t := &target{id: id, values: values}
	if step, err := slurm.ParseID(id); err == nil {
		t.isStep, t.step = true, step
		t.values = values.FromStep(step)
	}
	return t, t.becomeOwner(c)
}

// becomeOwner decides where the state is and, if root asks for a user's, becomes that user.
func (t *target) becomeOwner(c *cli.Context) error {
	c = globals(c)
	if !c.IsSet("root") {
		return t.becomeDefaultOwner()
	}
	if strings.Contains(c.String("root"), "%U") && t.values.UID == "" {
		uid, _, err := t.owner()
		if err != nil {
			return err
		}
		t.values.UID = strconv.Itoa(uid)
	}
	root, err := slurm.Expand(c.String("root"), t.values)
	if err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	if root == "" {
		return usageError{errors.New("--root is empty")}
	}
	t.roots = []string{root}
	if !runtime.IsRoot() {
		return nil
	}
	uid, gid, err := runtime.PathOwner(root)
	if err != nil {
		return err
	}
	if uid == 0 {
		t.roots[0], err = runtime.PhysicalPath(root)
		return err
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		gid, _ = strconv.Atoi(u.Gid)
	}
	return runtime.GiveUpRoot(uid, gid)
}

func (t *target) becomeDefaultOwner() error {
	uid, gid, err := t.owner()
	if err != nil {
		return err
	}
	if t.isStep {
		t.roots = stateroot.ForSteps(uid)
	} else {
		t.roots = stateroot.ForUser(uid, runtimeDir())
	}
	if runtime.IsRoot() && uid != 0 {
		return runtime.GiveUpRoot(uid, gid)
	}
	return nil
}

// owner returns the user whose state it is: the user in the ID of a Slurm task if root asks,
// otherwise the caller.
func (t *target) owner() (uid, gid int, err error) {
	if !t.isStep || !runtime.IsRoot() {
		return os.Geteuid(), os.Getegid(), nil
	}
	return lookUp(t.step.UserNames())
}

// runtimeDir returns $XDG_RUNTIME_DIR where it counts: not for root itself, as in runc.
func runtimeDir() string {
	if runtime.IsRoot() {
		return ""
	}
	return os.Getenv("XDG_RUNTIME_DIR")
}

// makeStore opens the store for a new container.
func (t *target) makeStore() (*runtime.Store, error) { return runtime.MakeStore(t.roots...) }

// containers finds the containers that the ID stands for: one, or all tasks of a Slurm step on this
// host.
func (t *target) containers() ([]*runtime.Container, error) {
	stores, err := runtime.OpenStores(t.roots...)
	if errors.Is(err, entry.ErrNotFound) {
		return nil, fmt.Errorf("find container %q: %w", t.id, err)
	}
	if err != nil {
		return nil, err
	}
	var found []*runtime.Container
	for _, s := range stores {
		if t.everyTask() {
			tasks, ferr := s.WithPrefix(t.step.Prefix())
			found, err = append(found, tasks...), ferr
		} else if one, ferr := s.Get(t.id); ferr == nil {
			return []*runtime.Container{one}, nil
		} else {
			err = ferr
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, err
}

// everyTask reports whether the ID stands for all tasks of a step.
func (t *target) everyTask() bool { return t.isStep && t.step.Task == slurm.AllTasks }

// expandPath replaces patterns in a path that is needed before anything else is known.
func expandPath(path string) (string, error) {
	return slurm.Expand(path, slurm.FromEnv(os.Environ()).Values())
}

// lookUp finds the first user that exists under one of the names, likeliest first. It looks in
// /etc/passwd and then asks getent(1), since a static program cannot load the site's name services.
func lookUp(names []string) (uid, gid int, err error) {
	for _, name := range names {
		if u, err := user.Lookup(name); err == nil {
			return ids(u.Uid, u.Gid)
		}
		cmd := exec.Command("/usr/bin/getent", "passwd", name)
		cmd.Env = []string{"PATH=" + searchPath}
		line, err := cmd.Output()
		fields := strings.Split(strings.TrimSpace(string(line)), ":")
		// getent accepts a number as a uid, but a name is meant.
		if err == nil && len(fields) >= 4 && fields[0] == name {
			return ids(fields[2], fields[3])
		}
	}
	return 0, 0, fmt.Errorf("find user of the container: %w", user.UnknownUserError(names[0]))
}

func ids(uid, gid string) (int, int, error) {
	u, err := strconv.Atoi(uid)
	if err != nil {
		return 0, 0, fmt.Errorf("read uid: %w", err)
	}
	g, err := strconv.Atoi(gid)
	if err != nil {
		return 0, 0, fmt.Errorf("read gid: %w", err)
	}
	return u, g, nil
}
