// Package scrun carries out the verbs of a container runtime by Slurm: the
// container's process runs in a job on a compute node, and a process of ours,
// the anchor, stands for it where the engine is.
//
// All of Slurm is used through its own commands. They run with an environment
// of ours: nothing of the image's reaches a program of the host.
package scrun

import "errors"

// Errors of the verbs, beside those of internal/entry and internal/stateroot. They come
// wrapped with the container's id.
var (
	// ErrRefused means that Slurm grants no allocation.
	ErrRefused = errors.New("allocation refused")
	// ErrCancelled means that the job was cancelled while it was pending.
	ErrCancelled = errors.New("job cancelled while pending")
	// ErrInterrupted means that a signal ended the wait for the job.
	ErrInterrupted = errors.New("interrupted while its job was pending")
	// ErrOption is an option for the job that is not known, or not from there.
	ErrOption = errors.New("option for the job")
	// ErrVolume is a bind mount of what the nodes do not share.
	ErrVolume = errors.New("volume that the nodes do not share")
	// ErrUnsupported is what cannot be done to a container of a job.
	ErrUnsupported = errors.New("not for a container of a Slurm job")
)
