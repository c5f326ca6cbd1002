package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// fits returns how well a program for one platform runs on a host; less than 0 means not at all.
// The highest variant that the host supports is the best. Both platforms are in Normal form.
func fits(program, host image.Platform) int {
	if program.OS != host.OS || program.Architecture != host.Architecture {
		return -1
	}
	needs, has := level(program), level(host)
	if needs > has {
		return -1
	}
	return needs
}

// level returns the number of a variant. A variant includes those with lower numbers. A variant
// that is not a number counts as 1.
func level(p image.Platform) int {
	if p.Variant == "" {
		switch p.Architecture {
		case "arm64":
			return 8
		case "arm":
			return 7
		}
		return 1
	}
	n, err := strconv.Atoi(strings.TrimPrefix(p.Variant, "v"))
	if err != nil || n < 0 {
		return 1
	}
	return n
}

func notFor(wanted image.Platform, there []image.Platform) error {
	var list []string
	for _, p := range there {
		if name := text.Printable(p.String()); !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	const most = 20
	if len(list) > most {
		list = append(list[:most], "...")
	}
	if len(list) == 0 {
		list = []string{"none"}
	}
	return fmt.Errorf("%w: %s is wanted, there is %s", ErrPlatform, wanted, strings.Join(list, ", "))
}

// A chooser looks for a platform in an index and its nested indexes.
type chooser struct {
	content  content
	platform image.Platform
	there    []image.Platform
	read     int // indexes and manifests that were read
}

// A chosen is a manifest that was chosen. If its index does not name its platform, it has already
// been read.
type chosen struct {
	descriptor v1.Descriptor
	document   document
	data       []byte
}

// choose returns the manifest that fits the platform best: from this index, otherwise from
// the first nested index that has one.
func (c *chooser) choose(ctx context.Context, list []v1.Descriptor, depth int) (chosen, error) {
	best, bestFit := -1, -1
	for i, d := range list {
		p, is := platformOf(d)
		if !is || d.MediaType.IsIndex() {
			continue
		}
		c.there = append(c.there, p)
		if fit := fits(p, c.platform); fit > bestFit {
			best, bestFit = i, fit
		}
	}
	if best >= 0 {
		return chosen{descriptor: list[best]}, nil
	}
	for _, d := range list {
		if attached(d) || d.Platform != nil && !d.MediaType.IsIndex() {
			continue
		}
		if p, is := platformOf(d); is && fits(p, c.platform) < 0 {
			c.there = append(c.there, p)
			continue
		}
		if c.read++; c.read > maxIndexes || depth >= maxDepth {
			return chosen{}, fmt.Errorf("%w: more than %d indexes, or deeper than %d", ErrMalformed, maxIndexes, maxDepth)
		}
		data, err := c.content.manifest(ctx, d)
		if err != nil {
			return chosen{}, err
		}
		document, err := readDocument(data)
		if err != nil {
			return chosen{}, err
		}
		if document.Manifests == nil {
			// The platform is in the manifest's configuration. A single manifest is checked
			// where that is read.
			if len(list) == 1 {
				return chosen{descriptor: d, document: document, data: data}, nil
			}
			if found, err := c.byConfig(ctx, document); err != nil || found {
				return chosen{descriptor: d, document: document, data: data}, err
			}
			continue
		}
		found, err := c.choose(ctx, *document.Manifests, depth+1)
		if !errors.Is(err, ErrPlatform) {
			return found, err
		}
	}
	return chosen{}, notFor(c.platform, c.there)
}

// byConfig reports whether the manifest's configuration is for the platform.
func (c *chooser) byConfig(ctx context.Context, d document) (bool, error) {
	if checkKind(d) != nil {
		return false, nil // a signature, or another artifact
	}
	raw, err := c.content.document(ctx, *d.Config)
	if err != nil {
		return false, err
	}
	var says configuration
	if err := json.Unmarshal(raw, &says); err != nil {
		return false, fmt.Errorf("%w: its configuration cannot be parsed", ErrMalformed)
	}
	p := image.Platform{OS: says.OS, Architecture: says.Architecture, Variant: says.Variant}.Normal()
	c.there = append(c.there, p)
	return fits(p, c.platform) >= 0, nil
}

// platformOf returns the platform that an index gives for a manifest, if it gives one and the
// manifest is an image's.
func platformOf(d v1.Descriptor) (image.Platform, bool) {
	if d.Platform == nil || attached(d) {
		return image.Platform{}, false
	}
	return image.Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture, Variant: d.Platform.Variant}.Normal(), true
}

// attached reports whether an entry describes another one, such as BuildKit's attestations.
func attached(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] != "" || d.Platform != nil && d.Platform.OS == "unknown"
}
