package scrun

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// nvidiaNodes begins the paths of NVIDIA's device nodes.
const nvidiaNodes = "/dev/nvidia"

// visibleDevices is the variable that names, by number or UUID, the GPUs for NVIDIA's hook.
const visibleDevices = "NVIDIA_VISIBLE_DEVICES"

// gpus returns how many GPUs the engine gave the container: those whose device nodes Podman
// lists, or binds if it is rootless, or those that Docker's --gpus names for NVIDIA's hook.
func gpus(spec *specs.Spec) (int, error) {
	count := 0
	if spec.Linux != nil {
		for _, d := range spec.Linux.Devices {
			if isGPU(d.Path) {
				count++
			}
		}
	}
	for _, m := range spec.Mounts {
		if bundle.IsBind(m) && isGPU(m.Destination) {
			count++
		}
	}
	if count > 0 || !hasGPUHook(spec) || spec.Process == nil {
		return count, nil
	}
	switch visible := lookUp(spec.Process.Env, visibleDevices); visible {
	case "", "none", "void":
		return 0, nil
	case "all":
		return 0, fmt.Errorf("%w: --gpus all does not say how many: give a number, or SCRUN_GPUS", ErrOption)
	default:
		return len(strings.Split(visible, ",")), nil
	}
}

// asksForGPUs reports whether an option of the request says how many GPUs there are.
func (r request) asksForGPUs() bool {
	return slices.ContainsFunc([]string{"gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gres", "tres-per-task"},
		func(name string) bool { return r[name] != "" })
}

// isGPU reports whether the path is /dev/nvidiaN.
func isGPU(path string) bool {
	n, ok := strings.CutPrefix(path, nvidiaNodes)
	return ok && n != "" && strings.Trim(n, "0123456789") == ""
}

func hasGPUHook(spec *specs.Spec) bool {
	return spec.Hooks != nil && slices.ContainsFunc(spec.Hooks.Prestart, func(h specs.Hook) bool { //nolint:staticcheck // Docker uses it
		return strings.Contains(h.Path, "nvidia-container")
	})
}
