// Package inplace launches a container without leaving a process behind: the calling process enters
// the container's namespaces, builds its root, and becomes the application. It is for Slurm tasks,
// which share the host's pid, ipc, net and uts namespaces.
//
// Nobody supervises the container, so nothing can be done at its end; and it is made without any
// privileges. If it needs either, Supports refuses it, and libcontainer launches it.
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

// A Task is a container in the terms of the kernel: what remains to be done once the namespaces are
// entered. It passes from one execution of this program to the next, and to no other program.
type Task struct {
	Image         string       `json:"image"`           // the directory of the image
	Rootfs        string       `json:"rootfs"`          // the directory that becomes the root: the image, or its replacement
	Mount         int          `json:"mount,omitempty"` // the descriptor of the image's mount, if the image is a file
	Readonly      bool         `json:"readonly,omitempty"`
	Layer         *Layer       `json:"layer,omitempty"`
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

	// Root says that the caller is root in the container's user namespace.
	Root bool `json:"root,omitempty"`

	Extras `json:"-"`

	// Packed holds the extras as JSON, if there are any: encoding/json takes time to prepare for
	// their types.
	Packed json.RawMessage `json:"packed,omitempty"`

	// Entry is the directory of the container's state, if this process must remove it when the
	// launch fails.
	Entry string `json:"entry,omitempty"`
	// Gone is the name, beside the entry, of the directory in which it is removed.
	Gone string `json:"gone,omitempty"`

	// Parent is the process whose end also ends the application; 0 for none.
	Parent int `json:"parent,omitempty"`

	// Joins says that the container exists, and that this is a further process of it.
	Joins bool `json:"joins,omitempty"`

	filter func(*specs.LinuxSeccomp) error
}

// MarshalJSON and UnmarshalJSON prepare for no field that the task does not have.
func (t *Task) MarshalJSON() ([]byte, error) { return bundle.MarshalFields(t) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *Task) UnmarshalJSON(data []byte) error { return bundle.UnmarshalFields(data, t) }

// Extras are fields that few containers use.
type Extras struct {
	Seccomp *specs.LinuxSeccomp `json:"seccomp,omitempty"`

	// CreateContainer and StartContainer are the hooks of these kinds, and State is what they read
	// on stdin (config.md, POSIX-platform Hooks).
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

// File writes the task where the next execution of this program can read it: to the path, for
// Further, or only to memory if path is empty. The file is locked (flock) until the task's
// application is executed, or its process has ended. The caller closes it.
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

// ReadTask reads a task that File wrote.
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
