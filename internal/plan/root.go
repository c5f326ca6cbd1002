package plan

import (
	"errors"
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/fakeroot"
)

// ErrRootAlready says that root asked to be root.
var ErrRootAlready = errors.New("it is for users: root is root already")

// remapRoot makes the command root in the image, if the user asks for that.
func (p *composition) remapRoot() error {
	c := p.request.RemapRoot
	if c.Value == "" || c.Value == "false" {
		return nil
	}
	if p.scene.Root {
		return fmt.Errorf("%s: %w", c.By, ErrRootAlready)
	}
	spec := p.bundle.Spec
	if ownIDs(spec.Linux) {
		p.Notes = append(p.Notes, c.By+" has no effect: the bundle has user ids of its own (linux.uidMappings)")
		return nil
	}
	seen, err := p.lookInside()
	if err != nil {
		return fmt.Errorf("plan root: %w", err)
	}
	r := fakeroot.Request{Scene: seen, Choice: c, Layer: p.bundle.Layer != nil, UID: p.scene.UID, GID: p.scene.GID, Spec: spec}
	if home := p.home(); p.InPlace && p.scene.Config.HPC.Home && home != "/" && p.scene.Host.IsDir(home) {
		r.Home = home
	}
	proposed, err := fakeroot.Edits(r)
	if err != nil {
		return err // which names the origin
	}
	return p.accept(proposed)
}

// ownIDs reports whether config.json gives the container more ids than the caller's.
func ownIDs(l *specs.Linux) bool {
	return l != nil && (len(l.UIDMappings) > 1 || len(l.UIDMappings) == 1 && l.UIDMappings[0].Size > 1)
}
