package image

import (
	"errors"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// A Kind says where an image lies and in which form. Its text is the scheme of references of
// that kind, if they have one.
type Kind string

// The kinds of references.
const (
	KindRegistry          Kind = "docker"             // a repository of a registry
	KindORAS              Kind = "oras"               // a SIF file as an artifact of a registry
	KindLayout            Kind = "oci"                // a directory by image-spec, image-layout.md
	KindOCIArchive        Kind = "oci-archive"        // a tar file of such a directory
	KindDockerArchive     Kind = "docker-archive"     // what docker save writes
	KindArchive           Kind = "archive"            // one of these two archives, maybe compressed
	KindDirectory         Kind = "dir"                // what skopeo writes to dir:
	KindDockerDaemon      Kind = "docker-daemon"      // an image of this host's Docker
	KindContainersStorage Kind = "containers-storage" // an image of this user's Podman
	KindSquashfs          Kind = "squashfs"           // a squashfs file
	KindSIF               Kind = "sif"                // a SIF file of Apptainer
	KindRootFS            Kind = "rootfs"             // a directory with bin, usr or etc
	KindBundle            Kind = "bundle"             // a directory with config.json
	KindEDF               Kind = "edf"                // an environment: a TOML file, or its name
	KindPath              Kind = "path"               // a path; Decide says what is there
	KindName              Kind = "name"               // an environment or an image of the store, by name
	KindContainer         Kind = "container"          // a named container
)

// A Reference names an image. Its kind decides which fields are set.
type Reference struct {
	Kind Kind

	// Path is the cleaned path of a file or directory; it is absolute if Rules.Dir is set.
	Path string

	// Name is a name as it was given: of an environment, a container, an image of the store
	// or of another engine, or an image in a docker-archive.
	Name string

	// Registry and Repository locate an image in a registry: Registry is a host, maybe with a
	// port, and Repository a path that includes library/ where Docker Hub implies it.
	Registry, Repository string

	// Tag is the tag of an image in a registry or a layout. With a Digest it is informational.
	Tag    string
	Digest Digest

	// User selects this user's credentials.
	User string

	// Short says that the reference names no registry. Then Registry is the site's first
	// one, and Search lists the others, in the order to try them.
	Short  bool
	Search []string
}

// Rules are a site's decisions about references, and the directory of relative paths.
type Rules struct {
	// Registries are the registries to search if a reference names none; docker.io if empty.
	Registries []string

	// Bare lets a single word, such as ubuntu, name an image of a registry. It is off by
	// default: a typo would fetch whatever somebody else published under that name.
	Bare bool

	// Dir is the base of relative paths; Home replaces ~. Both may be empty.
	Dir, Home string
}

// ErrReference matches, by errors.Is, every error about the form of a reference.
var ErrReference = errors.New("invalid image reference")

// A ReferenceError says what is wrong with a reference. It is an ErrReference.
type ReferenceError struct {
	Reference string
	Err       error

	// Hint says what to write instead; it may be empty.
	Hint string
}

// Error returns one line, such as
//
//	image nvcr.io:x: no repository
func (e *ReferenceError) Error() string {
	return "image " + text.Printable(e.Reference) + ": " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *ReferenceError) Unwrap() error { return e.Err }

// WithDigest returns the reference with the digest, so that it names the same image even if
// the tag moves. Kinds without digests are returned as they are.
func (r Reference) WithDigest(d Digest) Reference {
	if r.Kind == KindRegistry || r.Kind == KindLayout {
		r.Digest = d
	}
	return r
}

// Is makes every ReferenceError an ErrReference.
func (e *ReferenceError) Is(target error) bool { return target == ErrReference }

// String returns the normal form. ParseReference with the same registries in its Rules gives
// the same reference again, except for Short and Search.
func (r Reference) String() string {
	switch r.Kind {
	case KindRegistry, KindORAS:
		s := string(r.Kind) + "://"
		if r.User != "" {
			s += r.User + "@"
		}
		// A registry that does not look like one needs the separator '#'.
		separator := "/"
		if !looksLikeRegistry(r.Registry) {
			separator = "#"
		}
		return s + r.Registry + separator + r.Repository + r.suffix()
	case KindLayout, KindOCIArchive:
		return string(r.Kind) + ":" + r.Path + r.suffix()
	case KindDockerArchive, KindArchive:
		if r.Name != "" {
			return string(r.Kind) + ":" + r.Path + ":" + r.Name
		}
		return string(r.Kind) + ":" + r.Path
	case KindDockerDaemon, KindContainersStorage:
		return string(r.Kind) + ":" + r.Name
	case KindEDF:
		return "edf:" + r.Path + r.Name
	case KindContainer:
		return "@" + r.Name
	case KindName:
		return r.Name
	case KindPath:
		return r.Path
	}
	return string(r.Kind) + ":" + r.Path
}

// suffix returns the tag and the digest as they are written at the end of a reference.
func (r Reference) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + string(r.Digest)
	}
	return s
}

// Familiar returns a registry image as people write it: without scheme and user, and without
// docker.io/library/. For other kinds it is the same as String.
func (r Reference) Familiar() string {
	if r.Kind != KindRegistry {
		return r.String()
	}
	if r.Registry != dockerHub {
		return r.Registry + "/" + r.Repository + r.suffix()
	}
	return strings.TrimPrefix(r.Repository, official) + r.suffix()
}

// Candidates returns the references to try, in this order: one for each registry of the site
// if the reference names none, otherwise the reference alone.
func (r Reference) Candidates() []Reference {
	all := []Reference{r}
	for _, registry := range r.Search {
		next := r
		next.Registry, next.Search = registry, nil
		next.Repository = repositoryAt(registry, strings.TrimPrefix(r.Repository, official))
		all = append(all, next)
	}
	all[0].Search = nil
	return all
}
