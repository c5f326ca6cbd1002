package plan

// imageConfig gives the container the root file system of an image, and what its
// configuration says. It comes first: the site and the user override it.
func (p *composition) imageConfig() error {
	if p.scene.Stored == nil {
		return nil
	}
	return p.apply(p.scene.Stored.Edit(p.scene.Stored.Path))
}
