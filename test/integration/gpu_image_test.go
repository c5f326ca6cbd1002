//go:build integration

package integration

import (
	"testing"

	"github.com/ocishim/ocishim/internal/pace"
)

// image does the same in images of stores.
func (g *gpuCluster) image(t *testing.T) {
	for _, format := range []string{"tree", "sqfs"} {
		g.container = g.imageOf(t, "alice", bundle("alice", "ro"), format)
		for _, k := range gpuCases {
			if pace.All() || format == "sqfs" && k.short {
				t.Run("image/"+format+"/"+k.name, func(t *testing.T) { g.compare(t, k) })
			}
		}
	}
	g.container = bundle("alice", "ro")
}
