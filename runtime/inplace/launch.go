package inplace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// launchOrRemove removes the entry and the layer if the launch fails. The root may be in them, with
// mounts of the user's files by then: their home, /tmp. So a thread in its own mount namespace
// removes them. That namespace is made before those mounts, and never has any of them. (Nor does the
// kernel remove a directory that is a mount point in the thread's own namespace.) If it cannot be
// made, they are left for a later sweep.
func (t *Task) launchOrRemove() error {
	made := t.made()
	if len(made) == 0 {
		return t.launch()
	}
	steps := make(chan struct{})
	go func() {
		defer close(steps)
		runtime.LockOSThread() // for good: no other goroutine may get this namespace
		parents, err := apart(made)
		steps <- struct{}{}
		<-steps // the launch has failed
		for i, parent := range parents {
			if err == nil {
				discard(parent, filepath.Base(made[i].path), made[i].gone)
			}
			_ = parent.Close()
		}
	}()
	<-steps
	err := t.launch()
	steps <- struct{}{}
	<-steps
	return err
}

// A madeDirectory is one that goes if the launch fails: its path, and the name, beside it, of the
// directory in which it is removed.
type madeDirectory struct{ path, gone string }

func (t *Task) made() []madeDirectory {
	var made []madeDirectory
	if t.Entry != "" {
		made = append(made, madeDirectory{t.Entry, t.Gone})
	}
	if t.Layer != nil && t.Layer.Gone != "" {
		made = append(made, madeDirectory{t.Layer.Dir, t.Layer.Gone})
	}
	return made
}

// discard removes the entry from the store at once, by rename into a new directory, and then its
// files. If this process were killed in between, an entry without its record would belong to
// nobody, and block its id.
func discard(store *os.Root, name, gone string) {
	if store.Mkdir(gone, 0o700) != nil {
		return
	}
	if store.Rename(name, gone+"/entry") != nil {
		return
	}
	if !errors.Is(store.RemoveAll(gone), unix.EACCES) {
		return // all is gone; or nothing more can be done, as without any descriptors left
	}
	// overlayfs makes directories that nobody may enter.
	_ = fs.WalkDir(store.FS(), gone, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = store.Chmod(path, 0o700)
		}
		return nil
	})
	_ = store.RemoveAll(gone)
}

// apart moves this thread into its own mount namespace, and opens the directories above those that
// were made. Later mounts in the process's namespace do not appear in it: neither of the two
// propagates mounts.
func apart(made []madeDirectory) ([]*os.Root, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := leaveHost(); err != nil {
		return nil, err
	}
	var parents []*os.Root
	for _, m := range made {
		parent, err := os.OpenRoot(filepath.Dir(m.path))
		if err != nil {
			return parents, err
		}
		parents = append(parents, parent)
	}
	return parents, nil
}

// launch builds the root, unless the task joins a container, takes on the application's properties,
// and becomes the application. The process is already in its namespaces, with every capability in
// them and none on the host.
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
		// The filter comes last: earlier steps need more than it may allow.
		if err := t.filter(t.Seccomp); err != nil {
			return fmt.Errorf("set seccomp filter: %w", err)
		}
	}
	return refusal(t.Args[0], syscall.Exec(command, t.Args, t.Env))
}

func (t *Task) prepare() error {
	if t.OOMScoreAdj != nil {
		if err := SetOOMScore(*t.OOMScoreAdj); err != nil {
			return err // while the host's /proc can still be reached
		}
	}
	return t.buildRoot()
}

func (t *Task) buildRoot() error {
	if err := leaveHost(); err != nil {
		return err
	}
	if err := t.Layer.hide(); err != nil {
		return err
	}
	image, err := t.openImage()
	if err != nil {
		return err
	}
	defer image.close()
	sources, err := t.openSources(image)
	if err != nil {
		return err
	}
	r, err := t.mountRoot(image)
	if err != nil {
		return err
	}
	if r.fd != image {
		defer r.fd.close()
	}
	if err := r.attachAll(t.Mounts, sources, t.Layer); err != nil {
		return err
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

// mountRoot mounts what becomes the container's root: the image, a layer over it, or what takes its
// place.
func (t *Task) mountRoot(image descriptor) (*root, error) {
	switch {
	case t.Layer != nil:
		return t.Layer.mount(image, filepath.Dir(t.Image))
	case t.Mount != 0 && t.Rootfs == t.Image:
		return &root{fd: image}, nil
	}
	return mountRoot(t.Rootfs)
}

// attachAll makes the task's mounts, in order.
func (r *root) attachAll(mounts []mount, sources []source, l *Layer) error {
	for i, m := range mounts {
		if err := r.attach(m, sources[i]); err != nil {
			return err
		}
		if !m.isBind() {
			continue
		}
		sources[i].fd.close()
		if err := l.hideIn(r, m); err != nil {
			return err
		}
	}
	return nil
}

// openImage opens the image's directory. An image that is a file is attached where the store has
// it: any directory would do, since nobody else is in this mount namespace.
func (t *Task) openImage() (descriptor, error) {
	if t.Mount == 0 {
		image, err := openPath(t.Image)
		if err != nil {
			return -1, fmt.Errorf("open rootfs %s: %w", t.Image, err)
		}
		return image, nil
	}
	err := unix.MoveMount(t.Mount, "", unix.AT_FDCWD, filepath.Dir(t.Image), unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return -1, fmt.Errorf("mount image %s: %w", t.Image, err)
	}
	return descriptor(t.Mount), nil
}

// openSources opens the sources of bind mounts, by the indexes of the mounts.
func (t *Task) openSources(image descriptor) ([]source, error) {
	sources := make([]source, len(t.Mounts))
	var err error
	for i, m := range t.Mounts {
		if !m.isBind() {
			continue
		}
		if m.Mount != 0 {
			sources[i] = source{descriptor(m.Mount), true}
			continue
		}
		if sources[i], err = openSource(m, t.Image, &root{fd: image}); err != nil {
			return nil, fmt.Errorf("mount %s at %s: %w", m.Source, m.Target, err)
		}
	}
	return sources, nil
}

// takeOn gives the process the application's properties, privileges last.
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

// enterDirectory runs with the application's rights. It checks that the directory is in the
// container (CVE-2024-21626): one outside would have no path.
func enterDirectory(path string) error {
	if err := unix.Chdir(path); err != nil {
		return fmt.Errorf("enter working directory %s: %w", path, err)
	}
	if _, err := unix.Getcwd(make([]byte, unix.PathMax)); err != nil {
		return fmt.Errorf("enter working directory %s: it is not in the container: %w", path, err)
	}
	return nil
}

// dieWith makes the kernel end the application when its parent ends. The parent of a Slurm task is
// its slurmstepd, and no other process would end the task.
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
