package plan

import "github.com/ocishim/ocishim/bundle"

// imageConfig gives the container the root file system of an image, and what its
// configuration says. It comes first: the site and the user override it.
func (p *composition) imageConfig() error {
	stored := p.scene.Stored
	if stored == nil {
		return nil
	}
	if err := p.apply(stored.Edit(stored.Path)); err != nil {
		return err
	}
	if err := p.layer(); err != nil {
		return err
	}
	// Without a name in the bundle, the caller has composed the command.
	if c := p.request.Entrypoint; c.Value == "true" && p.request.Image.Value != "" {
		return p.apply(bundle.Edit{From: "entrypoint", Rule: c.By, Args: stored.Config.Command(p.bundle.Spec.Process.Args, true)})
	}
	return nil
}
