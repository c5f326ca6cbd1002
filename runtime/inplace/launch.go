package inplace

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// launchOrRemove removes the entry when the launch fails. The root may lie in the
// entry, and what is mounted there by then is the user's: their home, /tmp. So it is
// removed by a thread in a mount namespace of its own, made before all of that,
// where none of it ever is. (Nor is a directory removed that something is mounted on
// in the remover's own namespace.) Without one the entry is left to be swept.
func (t *Task) launchOrRemove() error {
	if t.Entry == "" {
		return t.launch()
	}
	steps := make(chan struct{})
	go func() {
		defer close(steps)
		runtime.LockOSThread() // for good: nobody else is to have this namespace
		store, err := apart(filepath.Dir(t.Entry))
		steps <- struct{}{}
		<-steps // the launch has failed
		if err == nil {
			discard(store, filepath.Base(t.Entry), t.Gone)
			_ = store.Close()
		}
	}()
	<-steps
	err := t.launch()
	steps <- struct{}{}
	<-steps
	return err
}

// discard removes the entry from the store at once, by rename into a new directory, and its
// files then: an entry
// without its record, which is left when this process is killed in between, would be
// nobody's, and keep its id from everybody.
func discard(store *os.Root, name, gone string) {
	if store.Mkdir(gone, 0o700) != nil {
		return
	}
	if store.Rename(name, gone+"/entry") == nil {
		_ = store.RemoveAll(gone)
	}
}

// apart takes this thread into a mount namespace of its own, and opens the directory
// there. What is mounted in the process's namespace afterwards is not seen in it:
// neither of the two passes mounts on.
func apart(dir string) (*os.Root, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := leaveNode(); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

// launch builds the root, unless it is there, takes on what the application is to
// have, and becomes it. The process is in its namespaces, with every capability in
// them and none on the node.
func (t *Task) launch() error {
	if !t.Joins {
		if err := t.prepare(); err != nil {
			return err
		}
	}
	if err := t.takeOn(); err != nil {
		return err
	}
	if err := t.runHooks("startContainer", specs.StateCreated, t.StartContainer); err != nil {
		return err
	}
	if err := dieWith(t.Parent); err != nil {
		return err
	}
	t.Env = environment(t.Env)
	command, err := t.find()
	if err != nil {
		return err
	}
	if t.Seccomp != nil {
		// The last thing: what comes before needs more than the filter may allow.
		if err := t.filter(t.Seccomp); err != nil {
			return fmt.Errorf("set seccomp filter: %w", err)
		}
	}
	return refusal(t.Args[0], syscall.Exec(command, t.Args, t.Env))
}

func (t *Task) prepare() error {
	if t.OOMScoreAdj != nil {
		if err := SetOOMScore(*t.OOMScoreAdj); err != nil {
			return err // before the node's /proc is out of reach
		}
	}
	return t.buildRoot()
}

func (t *Task) buildRoot() error {
	if err := leaveNode(); err != nil {
		return err
	}
	sources, err := t.openSources()
	if err != nil {
		return err
	}
	r, err := mountRoot(t.Rootfs)
	if err != nil {
		return err
	}
	defer r.fd.close()
	for i, m := range t.Mounts {
		if err := r.attach(m, sources[i]); err != nil {
			return err
		}
		if m.isBind() {
			sources[i].fd.close()
		}
	}
	r.makeCwd(t.Cwd)
	if err := r.seal(); err != nil {
		return err
	}
	if err := t.runHooks("createContainer", specs.StateCreating, t.CreateContainer); err != nil {
		return err
	}
	for _, path := range t.ReadonlyPaths {
		if err := r.makeReadonly(path); err != nil {
			return err
		}
	}
	for _, path := range t.MaskedPaths {
		if err := r.maskPath(path); err != nil {
			return err
		}
	}
	if t.Readonly {
		if err := r.makeRootReadonly(); err != nil {
			return err
		}
	}
	return r.enter()
}

// openSources opens what bind mounts show, by the mounts' numbers.
func (t *Task) openSources() ([]source, error) {
	image, err := openPath(t.Image)
	if err != nil {
		return nil, fmt.Errorf("open rootfs %s: %w", t.Image, err)
	}
	defer image.close()
	sources := make([]source, len(t.Mounts))
	for i, m := range t.Mounts {
		if !m.isBind() {
			continue
		}
		if sources[i], err = openSource(m, t.Image, &root{fd: image}); err != nil {
			return nil, fmt.Errorf("mount %s at %s: %w", m.Source, m.Target, err)
		}
	}
	return sources, nil
}

// takeOn gives the process what the application is to have, privileges last.
func (t *Task) takeOn() error {
	for _, limit := range t.Rlimits {
		if err := limit.set(); err != nil {
			return err
		}
	}
	if t.Umask != nil {
		unix.Umask(int(*t.Umask))
	}
	if t.Personality != nil {
		if _, _, errno := unix.Syscall(unix.SYS_PERSONALITY, uintptr(*t.Personality), 0, 0); errno != 0 {
			return fmt.Errorf("set personality: %w", errno)
		}
	}
	if err := t.Capabilities.take(t.NoNewPrivs); err != nil {
		return err
	}
	return enterDirectory(t.Cwd)
}

// enterDirectory is done with the application's rights, and checks that the
// directory is the container's (CVE-2024-21626): from elsewhere it would have no
// path.
func enterDirectory(path string) error {
	if err := unix.Chdir(path); err != nil {
		return fmt.Errorf("enter working directory %s: %w", path, err)
	}
	if _, err := unix.Getcwd(make([]byte, unix.PathMax)); err != nil {
		return fmt.Errorf("enter working directory %s: it is not in the container: %w", path, err)
	}
	return nil
}

// dieWith has the kernel end the application when its parent ends: a Slurm task's
// is its slurmstepd, and nobody else would.
func dieWith(parent int) error {
	if parent == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("follow process %d: %w", parent, err)
	}
	if os.Getppid() != parent {
		return fmt.Errorf("follow process %d: it has ended", parent)
	}
	return nil
}
