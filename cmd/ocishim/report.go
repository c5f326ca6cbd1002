package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/gpu"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scrun"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/internal/stateroot"
	"github.com/ocishim/ocishim/runtime"
	"github.com/ocishim/ocishim/runtime/mountpoints"
)

// Exit statuses of our own for run, restore and exec, as env(1) and other programs that become
// another one have them. Every other verb has 1.
const (
	exitFailed        = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// fail reports the error, and what to do where we know, on stderr and in the
// log, and returns the exit status.
func (inv *invocation) fail(err error) int {
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	if logFile != nil {
		logFile.Error(err)
	}
	fmt.Fprintf(os.Stderr, "ocishim: error: %v\n", err)
	if h := hint(err); h != "" {
		fmt.Fprintf(os.Stderr, "ocishim: hint: %s\n", inv.inItsVerbs(h))
	}
	switch {
	case inv.verb != "run" && inv.verb != "exec" && inv.verb != "restore":
		return 1
	case errors.Is(err, runtime.ErrCommandNotFound):
		return exitNotFound
	case errors.Is(err, runtime.ErrNotExecutable):
		return exitNotExecutable
	}
	return exitFailed
}

// inItsVerbs is the hint with scrun's verbs in place of ocishim's own of the same name,
// where it was called as scrun.
func (inv *invocation) inItsVerbs(hint string) string {
	if inv.scrun == "" {
		return hint
	}
	for _, verb := range []string{"state", "delete", "list", "resume"} {
		hint = strings.ReplaceAll(hint, "`ocishim "+verb, "`"+inv.scrun+" "+verb)
	}
	return hint
}

// hint says what to do about the error, where we know.
func hint(err error) string {
	hints := []struct {
		is   error
		hint string
	}{
		{bundle.ErrNoConfig, "a bundle is a directory with config.json and a root filesystem; `ocishim spec` writes a config.json to begin with"},
		{bundle.ErrNoRootfs, "root.path in config.json is relative to the bundle, and must be a directory on this node"},
		{config.ErrUnsafe, "root decides for everybody: `chown root FILE` and `chmod go-w FILE`, the directories included"},
		{config.ErrNotAllowed, "`ocishim config` shows what users may decide: users.may"},
		{request.ErrUnknownName, "known are org.ocishim.profile, org.ocishim.mpi, org.ocishim.gpu.KEY and, for scrun, org.ocishim.slurm.OPTION: see ocishim(8)"},
		{config.ErrInvalid, "`ocishim config --help` lists the keys and what they may be"},
		{errNoAnswer, "a file system of the user's may not answer: /proc/mounts lists those of type fuse, /sys/fs/fuse/connections/*/abort ends one"},
		{runtime.ErrElsewhere, "call ocishim in that pid namespace, or in one above it"},
		{stateroot.ErrUnsafe, "the state directory must be yours, mode 0700 and no link; remove it, or choose another with --root"},
		{stateroot.ErrNone, "have the administrator install ocishim's tmpfiles.d file, or enable lingering (loginctl enable-linger), or pass --root"},
		{runtime.ErrNoSource, "a config.json that an engine wrote names files of the engine's own, which are gone: leave such mounts out, or make what they show"},
		{runtime.ErrMasked, "this is a container itself: start the outer one with its /proc and /sys as they are (Docker: --security-opt systempaths=unconfined, Podman: --security-opt unmask=ALL), or leave the pid namespace and the network namespace out of config.json"},
		{mountpoints.ErrHostsDirectory, "make it there, or mount elsewhere: the image's links never have anything made outside of the container"},
		{entry.ErrExists, "choose another id, or remove the old container with `ocishim delete ID`"},
		{entry.ErrStillRunning, "`ocishim delete --force ID` kills it first"},
		{runtime.ErrStuck, "thaw its cgroup, or end what it waits for, such as a file server; then delete the container again"},
		{runtime.ErrInPlace, "a container of `run --profile oci` can do that; srun --overlap starts another task beside one of Slurm's"},
		{runtime.ErrNodesMounts, `add {"type": "mount"} to linux.namespaces in config.json`},
		{entry.ErrNotFound, "`ocishim list` shows the caller's; those of other users and other state directories need their --root"},
		{entry.ErrNotRunning, "`ocishim state ID` shows what became of it"},
		{runtime.ErrPaused, "`ocishim resume ID` lets it go on; `ocishim exec --ignore-paused` adds a process that waits for that"},
		{runtime.ErrNoCgroup, "a Slurm task is in Slurm's: sstat(1) reports on it, `scontrol suspend` stops its job; without root a container has one where the caller may make one (systemd's Delegate=yes)"},
		{runtime.ErrNoSuchID, "linux.uidMappings and gidMappings in config.json say which there are; without any, root's containers have all, and a user's has 0"},
		{runtime.ErrLimit, "leave process.rlimits out of config.json: the container has the caller's then"},
		{runtime.ErrUnknownSignal, "a signal is a number, or a name of `kill -l`, with or without SIG"},
		{plan.ErrRoot, "leave the profile to the site, or choose oci"},
		{profile.ErrUnknown, "hpc shares the node, oci is what config.json says; without a choice the site decides: `ocishim config`"},
		{gpu.ErrNoDevice, "a specification is a file of the CDI's in one of these directories (gpu.cdi.dirs), which `nvidia-ctk cdi generate` writes for NVIDIA's"},
		{errNoPs, "install ps(1), of the package procps, or use `ocishim ps --format json ID`, which needs none"},
		{runtime.ErrNoCriu, "checkpoint and restore are done by criu(8): install the package criu on this node"},
		{scrun.ErrVolume, "keep it below a directory that all nodes have; the site lists those in scrun.shared"},
		{scrun.ErrOption, "docs/scrun.md lists what can be asked of Slurm, and by whom"},
		{entry.ErrInvalidID, "an id is a plain name of printable characters, such as %n.%u.%j.%s.%t in oci.conf"},
		{slurm.ErrUnknownPattern, "known patterns are %n %u %U %j %s %t %b %r %Z and %%"},
		{slurm.ErrNoValue, "patterns are replaced from SLURM_* variables: is this a Slurm job?"},
	}
	for _, h := range hints {
		if errors.Is(err, h.is) {
			return h.hint
		}
	}
	var wrong *bundle.ConfigError
	if errors.As(err, &wrong) {
		return "config.json is described by the OCI runtime specification (config.md, config-linux.md); `ocishim spec` writes one to compare with"
	}
	var usage usageError
	if errors.As(err, &usage) {
		return "`ocishim --help` and `ocishim VERB --help` list what is known"
	}
	return ""
}

// logFile is the log that --log names, nil without.
var logFile *logrus.Logger
