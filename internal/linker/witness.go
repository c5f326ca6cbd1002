package linker

import "github.com/ocishim/ocishim/internal/host"

// A Witness is told of every file, directory and link that a view has looked at.
type Witness interface {
	// Look notes what lies at a path without links.
	Look(tree *host.Tree, path string)
	// Add is Look where the identity is known.
	Add(tree *host.Tree, path string, id host.Identity)
	// AddNone notes that a path leads nowhere of use.
	AddNone(tree *host.Tree, path string)
	// AddThrough notes what a path leads to by links.
	AddThrough(tree *host.Tree, path string, id host.Identity)
	// AddLink notes what a link holds.
	AddLink(tree *host.Tree, path, target string)
}

// nobody is the witness of a view whose findings are not kept.
type nobody struct{}

func (nobody) Look(*host.Tree, string)                      {}
func (nobody) Add(*host.Tree, string, host.Identity)        {}
func (nobody) AddNone(*host.Tree, string)                   {}
func (nobody) AddThrough(*host.Tree, string, host.Identity) {}
func (nobody) AddLink(*host.Tree, string, string)           {}
