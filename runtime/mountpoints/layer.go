package mountpoints

import "github.com/ocishim/ocishim/runtime/inplace"

// points lists what the image lacks, to be made in the container's layer. A link takes the place of
// whatever the image has there, as in a cover.
func (s *scaffold) points() {
	for _, t := range s.targets {
		if t.base == "" {
			continue
		}
		p := inplace.Point{Path: t.path, File: t.file, Link: t.link, Instead: t.instead}
		if t.link != "" {
			p.Instead = t.path
		}
		s.Points = append(s.Points, p)
	}
}
