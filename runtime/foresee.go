package runtime

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/mountpoints"
)

// Everything that a launch changes in a container's configuration is an edit: the bundle as
// it was written, with the recorded edits applied in order, is what is launched.

// amend applies those of the edits that change something.
func amend(b *bundle.Bundle, edits ...bundle.Edit) error {
	edits = slices.DeleteFunc(edits, bundle.Edit.Empty)
	if len(edits) == 0 {
		return nil
	}
	return b.Apply(edits...)
}

// Foresee applies the edits of a launch that are known before the container has an entry,
// to a bundle that is to be explained.
func Foresee(b *bundle.Bundle, o LaunchOptions) error {
	if WhyNotInPlace(b, o) == "" {
		return foreseeInPlace(b)
	}
	return foresee(b, o)
}

// foresee is Foresee for a launch with libcontainer.
func foresee(b *bundle.Bundle, o LaunchOptions) error {
	if err := amend(b, plainMounts(b.Spec.Mounts, b.Dir), plainDevices(b.Spec.Linux)); err != nil {
		return err
	}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		if err := amend(b, rootlessEdit(b.Spec, uid, gid)); err != nil {
			return err
		}
	}
	if o.Terminal == TerminalOfCaller && !b.Spec.Process.Terminal && isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		if err := amend(b, bundle.Edit{From: "terminal", Terminal: true}); err != nil {
			return err
		}
	}
	if err := amend(b, withoutForeignIDs(b.Spec)); err != nil {
		return err
	}
	if err := unlock(b, true); err != nil {
		return err
	}
	if o.InPlace {
		return amend(b, recursively(b.Spec.Mounts))
	}
	return nil
}

// foreseeInPlace is Foresee for a launch in place.
func foreseeInPlace(b *bundle.Bundle) error {
	if err := amend(b, plainMounts(b.Spec.Mounts, b.Dir)); err != nil {
		return err
	}
	edit := bundle.Edit{From: "rootless"}
	uid, gid := os.Geteuid(), os.Getegid()
	own := ids{[]specs.LinuxIDMapping{{ContainerID: uint32(uid), Size: 1}}, []specs.LinuxIDMapping{{ContainerID: uint32(gid), Size: 1}}}
	for _, m := range b.Spec.Mounts {
		if changed, ok := rootlessMount(b.Spec, m, own.foreign); ok {
			edit.Mounts = append(edit.Mounts, changed)
		}
	}
	if err := amend(b, edit); err != nil {
		return err
	}
	return unlock(b, false)
}

// unlock checks that every bind has a source, and changes the binds that the kernel would
// refuse.
func unlock(b *bundle.Bundle, flagsToo bool) error {
	dirs, err := checkSources(b.Spec.Mounts)
	if err != nil {
		return err
	}
	edit, err := unlockable(b.Spec, dirs, flagsToo)
	if err != nil {
		return err
	}
	return amend(b, edit)
}

// scaffoldDir is the directory of an entry with mount points, files, links and directories
// that are made for the container.
const scaffoldDir = "scaffold"

// inject makes in the entry what edits add to a bundle and the specification cannot
// express: files, links and directories.
func inject(b *bundle.Bundle, entry string, procToo bool) error {
	edits, err := mountpoints.Injected(b, filepath.Join(entry, scaffoldDir), procToo)
	if err != nil {
		return err
	}
	return amend(b, edits...)
}

// addMountPoints makes in the entry the mount points that the image lacks, and returns the
// destinations at which parts of the image are mounted.
func addMountPoints(b *bundle.Bundle, entry string, o mountpoints.Options) (ofImage []string, err error) {
	p, err := mountpoints.New(b, filepath.Join(entry, scaffoldDir), o)
	if err != nil {
		return nil, err
	}
	return p.OfImage, amend(b, p.Edit)
}
