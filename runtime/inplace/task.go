// Package inplace launches a container without staying: the process that was
// asked for it enters its namespaces, builds its root, and becomes the application.
// It is for Slurm tasks, that share the node's pid, ipc, net and uts namespaces.
//
// Nobody supervises the container, so nothing can be done at its end; and it is
// made without any privilege. What needs either is refused by Supports, and is
// libcontainer's.
package inplace

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// A Task is a container in the words of the kernel: what is left to do once the
// namespaces are entered. It goes from one execution of this program to the next,
// and is nobody else's.
type Task struct {
	Image         string       `json:"image"`  // where the image lies
	Rootfs        string       `json:"rootfs"` // what becomes the root: the image, or what stands for it
	Readonly      bool         `json:"readonly,omitempty"`
	Mounts        []mount      `json:"mounts,omitempty"`
	MaskedPaths   []string     `json:"maskedPaths,omitempty"`
	ReadonlyPaths []string     `json:"readonlyPaths,omitempty"`
	Args          []string     `json:"args"`
	Env           []string     `json:"env,omitempty"`
	Cwd           string       `json:"cwd"`
	Rlimits       []rlimit     `json:"rlimits,omitempty"`
	Umask         *uint32      `json:"umask,omitempty"`
	OOMScoreAdj   *int         `json:"oomScoreAdj,omitempty"`
	Personality   *uint64      `json:"personality,omitempty"`
	Capabilities  capabilities `json:"capabilities,omitzero"`
	NoNewPrivs    bool         `json:"noNewPrivs,omitempty"`

	Extras `json:"-"`

	// Packed are the extras as JSON, where there are any: encoding/json takes its
	// time to prepare for their types.
	Packed json.RawMessage `json:"packed,omitempty"`

	// Entry is what the container's state is kept in, where nobody else will
	// remove it when the launch fails.
	Entry string `json:"entry,omitempty"`
	// Gone is the name, beside the entry, of the directory in which it is removed.
	Gone string `json:"gone,omitempty"`

	// Parent is the process whose end is the application's, too; 0 for none.
	Parent int `json:"parent,omitempty"`

	// Joins says that the container is there, and this a further process of it.
	Joins bool `json:"joins,omitempty"`

	filter func(*specs.LinuxSeccomp) error
}

// Extras are what few containers have.
type Extras struct {
	Seccomp *specs.LinuxSeccomp `json:"seccomp,omitempty"`

	// CreateContainer and StartContainer are the hooks of these moments, and
	// State is what they read on stdin (config.md, POSIX-platform Hooks).
	CreateContainer []specs.Hook `json:"createContainer,omitempty"`
	StartContainer  []specs.Hook `json:"startContainer,omitempty"`
	State           *specs.State `json:"state,omitempty"`
}

func (e *Extras) pack() (json.RawMessage, error) {
	if e.Seccomp == nil && len(e.CreateContainer)+len(e.StartContainer) == 0 {
		return nil, nil
	}
	return bundle.Marshal(e)
}

func (e *Extras) unpack(data json.RawMessage) error {
	if data == nil {
		return nil
	}
	return bundle.Unmarshal(data, e)
}

// File writes the task where the next execution of this program can read it: to the
// path, for Further, or only in memory when that is empty. It is locked (flock) until
// the task's application is executed, or its process has ended. The caller closes it.
func (t *Task) File(path string) (*os.File, error) {
	var err error
	if t.Packed, err = t.pack(); err != nil {
		return nil, fmt.Errorf("write task: %w", err)
	}
	f, err := newFile(path)
	if err != nil {
		return nil, fmt.Errorf("write task: %w", err)
	}
	if err := t.write(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("write task: %w", err)
	}
	return f, nil
}

func newFile(path string) (*os.File, error) {
	if path != "" {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	fd, err := unix.MemfdCreate("ocishim-task", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "task"), nil
}

func (t *Task) write(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	data, err := bundle.Marshal(t)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// ReadTask reads what was kept of a task.
func ReadTask(r io.Reader) (*Task, error) {
	t := new(Task)
	data, err := io.ReadAll(r)
	if err == nil {
		err = bundle.Unmarshal(data, t)
	}
	if err != nil {
		return nil, fmt.Errorf("read task: %w", err)
	}
	if err := t.unpack(t.Packed); err != nil {
		return nil, fmt.Errorf("read task: %w", err)
	}
	return t, nil
}
