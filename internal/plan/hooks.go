package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/text"
)

// ErrNoHook says that a container needs what a hook of CSCS's container engine does, and that
// nothing does it here.
var ErrNoHook = errors.New("this site does not give it")

// hookPrefix begins the annotations for hooks of CSCS's container engine, such as
// com.hooks.cxi.enabled (https://docs.cscs.ch/software/container-engine/resource-hook).
const hookPrefix = "com.hooks."

// hooks are the hooks that environments may ask for.
var hooks = []string{"aws_ofi_nccl", "cxi", "dcgm", "netstack", "nvidia_cuda_mps", "slurm", "ssh"}

// netstackSource says where libraries for the fabric come from. The site's MPI brings the host's.
const netstackSource = hookPrefix + "netstack.source"

// entrypointLog asks pyxis to keep the output of an entrypoint apart.
const entrypointLog = "com.pyxis.entrypoint_log"

// CheckHooks returns an error for the first hook that is enabled and that nothing replaces here: to
// lose a fabric without a word costs a job most of its speed. A nil host stands for one that is not
// known yet.
func CheckHooks(annotations map[string]string, cfg *config.Config, machine *host.Tree) error {
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		value := annotations[name]
		if name == entrypointLog && value != "false" {
			return fmt.Errorf("annotation %s = %s: %w: an entrypoint's output is the task's", name, text.Quoted(value), ErrNoHook)
		}
		if name == netstackSource && value != "host" && !slices.Contains(cfg.HPC.Hooks, "netstack") {
			return fmt.Errorf("annotation %s = %s: %w: the host's libraries are used", name, text.Quoted(value), ErrNoHook)
		}
		hook, ours := strings.CutPrefix(name, hookPrefix)
		hook, enabled := strings.CutSuffix(hook, ".enabled")
		if !ours || !enabled || value == "false" {
			continue
		}
		if value != "true" {
			return fmt.Errorf("annotation %s = %s: expected \"true\" or \"false\"", text.Printable(name), text.Quoted(value))
		}
		if why := lacksHook(hook, cfg, machine); why != "" {
			return fmt.Errorf("annotation %s: %w: %s", text.Printable(name), ErrNoHook, why)
		}
	}
	return nil
}

// lacksHook says why nothing here does what the hook does; empty if something does.
func lacksHook(hook string, cfg *config.Config, machine *host.Tree) string {
	switch {
	case slices.Contains(cfg.HPC.Hooks, hook):
		return ""
	case !slices.Contains(hooks, hook):
		if near := text.Nearest(hook, hooks); near != "" {
			return "no hook has this name: did you mean " + near + "?"
		}
		return "no hook has this name; known are " + strings.Join(hooks, ", ")
	case hook == "slurm":
		if slices.Contains(cfg.HPC.Edits, config.EditSlurm) {
			return ""
		}
		return `hpc.edits lacks "slurm"`
	case hook == "cxi":
		switch {
		case len(cfg.MPI) == 0:
			return "no [mpi.NAME] of the site's brings a libfabric with cxi"
		case machine != nil && !machine.Exists("/dev/cxi0"):
			return "this host has no /dev/cxi0"
		}
		return ""
	}
	return "neither ocishim nor the site's hpc.hooks has it"
}
