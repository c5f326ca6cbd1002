package bundle

import (
	"cmp"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// MountsAt inserts mounts at a place in the order of mounting.
type MountsAt struct {
	// Index is the index of the mount that they go before.
	Index int `json:"index"`

	// Replaced is the number of mounts, from Index on, that they replace.
	Replaced int `json:"replaced,omitempty"`

	Mounts []specs.Mount `json:"mounts,omitempty"`
}

func cloneMountsAt(places []MountsAt) []MountsAt {
	places = slices.Clone(places)
	for i := range places {
		places[i].Mounts = cloneMounts(places[i].Mounts)
	}
	return places
}

func checkMountsAt(places []MountsAt) *ConfigError {
	free := 0
	for i, p := range places {
		field := at("mountsAt", i)
		switch {
		case p.Index < free:
			return invalid(field+".index", "%d is less than %d, the first index not replaced yet", p.Index, free)
		case p.Replaced < 0 || p.Index+p.Replaced < p.Index:
			return invalid(field+".replaced", "%d is not a number of mounts", p.Replaced)
		}
		if bad := checkMounts(field+".mounts", p.Mounts); bad != nil {
			return bad
		}
		free = p.Index + p.Replaced
	}
	return nil
}

// MergeMounts applies the edit's mounts to a list of mounts, as Apply does after the edit's drops.
// It may write to the list.
func (e Edit) MergeMounts(mounts []specs.Mount) []specs.Mount {
	return slices.Concat(e.MountsFirst, mergeMounts(placeMounts(mounts, e.MountsAt), e.Mounts))
}

// placeMounts inserts mounts at indexes of the list.
func placeMounts(mounts []specs.Mount, places []MountsAt) []specs.Mount {
	if len(places) == 0 {
		return mounts
	}
	made, next := make([]specs.Mount, 0, len(mounts)), 0
	for _, p := range places {
		from := min(p.Index, len(mounts))
		made = append(append(made, mounts[next:from]...), p.Mounts...)
		next = min(p.Index+p.Replaced, len(mounts))
	}
	return append(made, mounts[next:]...)
}

// mergeMounts replaces by destination and appends the rest, parents first.
func mergeMounts(mounts, edits []specs.Mount) []specs.Mount {
	if len(edits) == 0 {
		return mounts
	}
	index := make(map[string]int, len(mounts)+len(edits))
	for i, m := range mounts {
		index[destination(m)] = i // the last one, which hides the others
	}
	own := len(mounts) // from here on they are the edit's
	for _, m := range edits {
		if i, ok := index[destination(m)]; ok {
			mounts[i] = m
			continue
		}
		index[destination(m)] = len(mounts)
		mounts = append(mounts, m)
	}
	slices.SortStableFunc(mounts[own:], func(a, b specs.Mount) int {
		return cmp.Compare(strings.Count(destination(a), "/"), strings.Count(destination(b), "/"))
	})
	return mounts
}
