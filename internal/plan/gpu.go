package plan

import (
	"fmt"
	goruntime "runtime"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/gpu"
	"github.com/ocishim/ocishim/internal/host"
)

// GPUs lists the edits that give a Slurm task the GPUs which Slurm gave it, with
// what their driver needs: after those of Edits have been applied, since it depends
// on whose /dev the container has. The node's files are found below its root.
// The warnings are for the user, a line each.
func GPUs(b *bundle.Bundle, root string) (edits []bundle.Edit, warnings []string, err error) {
	if !gpu.Asked(b.Spec.Process.Env, b.Spec.Annotations) {
		return nil, nil, nil
	}
	node, err := host.Open(root, host.Kernel{})
	if err != nil {
		return nil, nil, fmt.Errorf("plan GPUs: %w", err)
	}
	defer node.Close()
	image, err := host.Open(b.Rootfs, host.Kernel{})
	if err != nil {
		return nil, nil, fmt.Errorf("plan GPUs: %w", err)
	}
	defer image.Close()
	result, err := gpu.Edits(gpu.Request{
		Node: node, Image: image, Arch: goruntime.GOARCH,
		Env: b.Spec.Process.Env, Annotations: b.Spec.Annotations, Mounts: b.Spec.Mounts,
		Slurm: true,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("plan GPUs: %w", err)
	}
	return result.Edits, result.Warnings, nil
}
