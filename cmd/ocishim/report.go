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
	"github.com/ocishim/ocishim/internal/fakeroot"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scrun"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/internal/stateroot"
	"github.com/ocishim/ocishim/runtime"
	"github.com/ocishim/ocishim/runtime/mountpoints"
	"github.com/ocishim/ocishim/runtime/scratch"
)

// Exit statuses of our own for run, restore and exec, the same as for env(1) and other programs
// that execute another one. Every other verb exits with 1.
const (
	exitFailed        = 125
	exitNotExecutable = 126
	exitNotFound      = 127
)

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// fail reports the error on stderr and in the log, with a hint if there is one, and returns the
// exit status.
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
	case inv.verb != "run" && inv.verb != "run-image" && inv.verb != "exec" && inv.verb != "restore":
		return 1
	case errors.Is(err, runtime.ErrCommandNotFound):
		return exitNotFound
	case errors.Is(err, runtime.ErrNotExecutable):
		return exitNotExecutable
	}
	return exitFailed
}

// inItsVerbs replaces ocishim's verbs in the hint by those of scrun, if it was called as scrun.
func (inv *invocation) inItsVerbs(hint string) string {
	if inv.scrun == "" {
		return hint
	}
	for _, verb := range []string{"state", "delete", "list", "resume"} {
		hint = strings.ReplaceAll(hint, "`ocishim "+verb, "`"+inv.scrun+" "+verb)
	}
	return hint
}

// An advice says what to do about an error.
type advice struct {
	is   error
	hint string
}

// hints are the advice for errors, the first that fits. docs/troubleshooting.md lists them.
func hints() []advice {
	return []advice{
		{bundle.ErrNoConfig, "a bundle is a directory with config.json and a root filesystem; `ocishim spec` writes a config.json to start from"},
		{plan.ErrNoSource, "the source of a mount has to exist on every host of the job; the flag optional leaves it out where it does not"},
		{fakeroot.ErrBreaksMPI, "start one task (srun -n 1), or tasks that do not talk to each other (srun --mpi=none), or ask for it all the same: remap_root = force, --root=force"},
		{plan.ErrNotTasks, "a task may use the devices that Slurm gives to its job, and those whose owner and mode let the user open them"},
		{plan.ErrNoWorkdir, "make it in the image, or mount a directory there"},
		{scratch.ErrUnusable, "image.scratch in /etc/ocishim names it: a directory on the host's disk that is yours, with mode 0700, and no link"},
		{bundle.ErrNoRootfs, "root.path in config.json is relative to the bundle, and must be a directory on this host"},
		{config.ErrUnsafe, "only root may be able to change it: `chown root FILE` and `chmod go-w FILE`, also for the directories above"},
		{config.ErrNotAllowed, "`ocishim config` shows what users may change: users.may"},
		{request.ErrUnknownName, "the known ones are org.ocishim.profile, org.ocishim.mpi, org.ocishim.gpu.KEY and, for scrun, org.ocishim.slurm.OPTION: see ocishim(8)"},
		{errNoImageProgram, "`make install` and the packages install both programs: ocishim-image pulls images, and serves those that are one file"},
		{errNotOwn, "`ocishim image pull IMAGE` imports it, on a host with access to the network; or start it without --writable"},
		{errNotHere, "`ocishim image pull IMAGE` imports it, on a host with access to the network"},
		{config.ErrInvalid, "`ocishim config --help` lists the keys and their possible values"},
		{errNoAnswer, "a FUSE file system of the user may not respond: find it in /proc/mounts, and end it by writing to /sys/fs/fuse/connections/*/abort"},
		{runtime.ErrElsewhere, "call ocishim in that pid namespace, or in one above it"},
		{stateroot.ErrUnsafe, "the state directory must be yours, with mode 0700, and not a link: remove it, or choose another with --root"},
		{stateroot.ErrNone, "ask the administrator to install ocishim's tmpfiles.d file or to enable lingering (loginctl enable-linger), or pass --root"},
		{runtime.ErrNoSource, "a config.json written by an engine names the engine's own files, which may be gone: remove such mounts, or create their sources"},
		{runtime.ErrMasked, "ocishim itself runs in a container: start the outer one with an unmasked /proc and /sys (Docker: --security-opt systempaths=unconfined, Podman: --security-opt unmask=ALL), or remove the pid and network namespaces from config.json"},
		{mountpoints.ErrHostsDirectory, "create it there, or mount elsewhere: ocishim never follows a link of the image to create something outside the container"},
		{entry.ErrExists, "choose another id, or remove the old container with `ocishim delete ID`"},
		{entry.ErrStillRunning, "`ocishim delete --force ID` kills it first"},
		{runtime.ErrStuck, "thaw its cgroup, or resolve what it waits for, such as a file server, then delete the container again"},
		{runtime.ErrInPlace, "a container of `run --profile oci` can do that; for a Slurm task, srun --overlap starts another task beside it"},
		{runtime.ErrNodesMounts, `add {"type": "mount"} to linux.namespaces in config.json`},
		{entry.ErrNotFound, "`ocishim list` shows your containers; for other users or other state directories, pass their --root"},
		{entry.ErrNotRunning, "`ocishim state ID` shows its state"},
		{runtime.ErrPaused, "`ocishim resume ID` lets it continue; `ocishim exec --ignore-paused` adds a process that waits until then"},
		{runtime.ErrNoCgroup, "a Slurm task is in Slurm's cgroup: use sstat(1), or `scontrol suspend` to stop its job; without root, a container has a cgroup only if the caller may make one (systemd's Delegate=yes)"},
		{runtime.ErrNoSuchID, "a container has the ids in linux.uidMappings and gidMappings of config.json; without mappings, root's containers have all ids, and a user's has only 0"},
		{runtime.ErrLimit, "remove process.rlimits from config.json: the container then has the caller's limits"},
		{runtime.ErrUnknownSignal, "a signal is a number, or a name of `kill -l`, with or without SIG"},
		{plan.ErrRoot, "choose no profile, or oci"},
		{profile.ErrUnknown, "hpc shares the host, oci follows config.json; without a choice the site decides: `ocishim config`"},
		{gpu.ErrNoDevice, "no CDI specification defines this device; for NVIDIA, `nvidia-ctk cdi generate` writes one into a directory of gpu.cdi.dirs"},
		{errNoPs, "install ps(1), of the package procps, or use `ocishim ps --format json ID`"},
		{runtime.ErrNoCriu, "checkpoint and restore need criu(8): install the package criu on this host"},
		{scrun.ErrVolume, "put it below a directory that all compute nodes share; the site lists them in scrun.shared"},
		{scrun.ErrOption, "docs/scrun.md lists the options of Slurm that can be set, and by whom"},
		{entry.ErrInvalidID, "an id is a plain name of printable characters, such as %n.%u.%j.%s.%t in oci.conf"},
		{slurm.ErrUnknownPattern, "the patterns are %n %u %U %j %s %t %b %r %Z and %%"},
		{slurm.ErrNoValue, "patterns are replaced from SLURM_* variables: is this a Slurm job?"},
	}
}

// hint says what to do about the error, if we know.
func hint(err error) string {
	for _, h := range hints() {
		if errors.Is(err, h.is) {
			return h.hint
		}
	}
	var wrong *bundle.ConfigError
	if errors.As(err, &wrong) {
		return "the OCI runtime specification describes config.json (config.md, config-linux.md); `ocishim spec` writes one to compare with"
	}
	var usage usageError
	if errors.As(err, &usage) {
		return "`ocishim --help` and `ocishim VERB --help` list verbs and options"
	}
	return ""
}

// logFile is the log that --log names, nil without that option.
var logFile *logrus.Logger
