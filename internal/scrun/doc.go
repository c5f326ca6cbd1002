// Package scrun carries out the verbs of a container runtime with Slurm: the
// container's process runs in a job on a compute node, and a process of ours,
// the anchor, represents it on the host of the engine.
//
// Slurm is used only through its own commands. They get an environment that we
// build: nothing from the image reaches a program of the host.
package scrun

import "errors"

// Errors of the verbs, in addition to those of internal/entry and internal/stateroot.
// They are wrapped with the container's id.
var (
	// ErrRefused means that Slurm grants no allocation.
	ErrRefused = errors.New("allocation refused")
	// ErrCancelled means that the job was cancelled while it was pending.
	ErrCancelled = errors.New("job cancelled while pending")
	// ErrInterrupted means that a signal ended the wait for the job.
	ErrInterrupted = errors.New("interrupted while its job was pending")
	// ErrOption means that a job option is unknown, has a bad value, or may not be set
	// from where it was set.
	ErrOption = errors.New("invalid job option")
	// ErrVolume means that a bind mount's source is not shared by the compute nodes.
	ErrVolume = errors.New("volume not shared by the compute nodes")
	// ErrUnsupported means that the verb does not work on a container in a job.
	ErrUnsupported = errors.New("not supported for a container in a Slurm job")
)
