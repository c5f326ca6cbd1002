package linker

import "github.com/ocishim/ocishim/internal/host"

// A Witness learns of every file, directory and link that a view has looked at.
type Witness interface {
	// Look records what is at a path, without following links.
	Look(tree *host.Tree, path string)
	// Add is Look for a known identity.
	Add(tree *host.Tree, path string, id host.Identity)
	// AddNone records that a path leads to nothing useful.
	AddNone(tree *host.Tree, path string)
	// AddThrough records what a path leads to through links.
	AddThrough(tree *host.Tree, path string, id host.Identity)
	// AddLink records the target of a link.
	AddLink(tree *host.Tree, path, target string)
}

// nobody is the witness of a view whose results are not kept.
type nobody struct{}

func (nobody) Look(*host.Tree, string)                      {}
func (nobody) Add(*host.Tree, string, host.Identity)        {}
func (nobody) AddNone(*host.Tree, string)                   {}
func (nobody) AddThrough(*host.Tree, string, host.Identity) {}
func (nobody) AddLink(*host.Tree, string, string)           {}
