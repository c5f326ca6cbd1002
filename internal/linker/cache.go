package linker

import (
	"fmt"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// ReadCache reads the cache of a tree's loader.
func ReadCache(t *host.Tree) (*ldcache.Cache, error) {
	data, err := t.ReadFile(ldcache.Path)
	if err != nil {
		return nil, err
	}
	c, err := ldcache.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ldcache.Path, err)
	}
	return c, nil
}

// CacheToExtend returns the cache that an edit of a container starts from: as an
// earlier edit left it, or the image's. It is nil for an image without a cache. The
// loader ignores a damaged cache, so a damaged one counts as empty: what is found
// without it is still found with ours.
func CacheToExtend(image *host.Tree, earlier []byte) (*ldcache.Cache, error) {
	if earlier != nil {
		c, err := ldcache.Parse(earlier)
		if err != nil {
			return nil, fmt.Errorf("read the loader's cache of an earlier edit: %w", err)
		}
		return c, nil
	}
	if !image.IsFile(ldcache.Path) {
		return nil, nil //nolint:nilnil // no cache
	}
	c, err := ReadCache(image)
	if err != nil {
		return new(ldcache.Cache), nil //nolint:nilerr // see above
	}
	return c, nil
}
