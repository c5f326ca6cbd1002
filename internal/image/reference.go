package image

import (
	"errors"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// A Kind is where an image lies, and in which form. Its text is the scheme of references
// of that kind, where there is one.
type Kind string

// The kinds of references.
const (
	KindRegistry          Kind = "docker"             // a repository of a registry
	KindORAS              Kind = "oras"               // a SIF file as an artifact of a registry
	KindLayout            Kind = "oci"                // a directory by image-spec, image-layout.md
	KindOCIArchive        Kind = "oci-archive"        // a tar file of such a directory
	KindDockerArchive     Kind = "docker-archive"     // what docker save writes
	KindArchive           Kind = "archive"            // a file that is one of these two, or the same compressed
	KindDirectory         Kind = "dir"                // what skopeo writes to dir:
	KindDockerDaemon      Kind = "docker-daemon"      // an image of this host's Docker
	KindContainersStorage Kind = "containers-storage" // an image of this user's Podman
	KindSquashfs          Kind = "squashfs"           // a file with a file system
	KindSIF               Kind = "sif"                // a file of Apptainer
	KindRootFS            Kind = "rootfs"             // a directory with bin, usr or etc
	KindBundle            Kind = "bundle"             // a directory with config.json
	KindEDF               Kind = "edf"                // an environment: a TOML file, or its name
	KindPath              Kind = "path"               // a path; Decide says what is there
	KindName              Kind = "name"               // an environment or an image of the store, by name
	KindContainer         Kind = "container"          // a named container
)

// A Reference says which image is meant. Which fields it has depends on its kind.
type Reference struct {
	Kind Kind

	// Path is of a file or directory, clean, and absolute where Rules have a directory.
	Path string

	// Name is a name as it was given: of an environment, a container, an image of the store
	// or of another engine, or of an image in a docker-archive.
	Name string

	// Registry and Repository are of an image in a registry: a host with its port, and a
	// path that says library/ where that is implied.
	Registry, Repository string

	// Tag is of an image in a registry or a layout. With a Digest it is only for people.
	Tag    string
	Digest Digest

	// User picks the credentials of that user.
	User string

	// Short says that no registry was given. Registry is the site's first one then, and
	// Search are the others, in the order in which they are to be asked.
	Short  bool
	Search []string
}

// Rules are what a site decides about references, and where relative ones begin.
type Rules struct {
	// Registries are where images are looked for whose reference names no registry:
	// docker.io where there are none.
	Registries []string

	// Bare lets a word alone, such as ubuntu, name an image of a registry. Without it a
	// typing error would fetch whatever somebody else published under that name.
	Bare bool

	// Dir is the directory that relative paths begin at; Home stands for ~. Both may be empty.
	Dir, Home string
}

// ErrReference is what every error about the form of a reference is, for errors.Is.
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

// WithDigest returns the reference of that very image where its tag may have moved: of a
// kind that has digests.
func (r Reference) WithDigest(d Digest) Reference {
	if r.Kind == KindRegistry || r.Kind == KindLayout {
		r.Digest = d
	}
	return r
}

// Is makes every ReferenceError an ErrReference.
func (e *ReferenceError) Is(target error) bool { return target == ErrReference }

// String returns the normal form: parsed by rules that name the same registries it gives the
// same reference, but for Short and Search.
func (r Reference) String() string {
	switch r.Kind {
	case KindRegistry, KindORAS:
		s := string(r.Kind) + "://"
		if r.User != "" {
			s += r.User + "@"
		}
		// A registry that is not seen to be one needs the other separator.
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

// suffix is the tag and the digest, as they stand at the end.
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

// Familiar returns an image of a registry as people write it: without scheme and user, and
// without what is implied at docker.io. Others are as String has them.
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
