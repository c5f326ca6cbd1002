package image

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// kindOf returns the kind of a scheme, as written before SCHEME:. It includes the schemes of
// skopeo and Apptainer.
func kindOf(scheme string) (kind Kind, known bool) {
	switch kind = Kind(scheme); kind {
	case KindRegistry, KindORAS, KindLayout, KindOCIArchive, KindDockerArchive, KindArchive, KindDirectory,
		KindDockerDaemon, KindContainersStorage, KindSquashfs, KindSIF, KindEDF, KindBundle, KindRootFS:
		return kind, true
	}
	switch scheme {
	case "dockerd":
		return KindDockerDaemon, true
	case "podman":
		return KindContainersStorage, true
	}
	return "", false
}

// cutScheme splits SCHEME:REST. In REPO:TAG there is no scheme, unless REPO is a known one.
func cutScheme(s string) (scheme, rest string, found bool) {
	scheme, rest, found = strings.Cut(s, ":")
	if !found || !all(scheme, func(c byte) bool { return isAlnum(c) || c == '-' || c == '+' || c == '.' }) {
		return "", s, false
	}
	if _, known := kindOf(scheme); known || strings.HasPrefix(rest, "//") {
		return scheme, rest, true
	}
	return "", s, false
}

// scheme parses what follows SCHEME:.
func (rules Rules) scheme(scheme, rest string) (r Reference, hint string, err error) {
	kind, known := kindOf(scheme)
	if !known {
		switch scheme {
		case "library", "shub":
			return r, "run apptainer pull FILE.sif " + scheme + ":" + rest + ", and then use FILE.sif", fmt.Errorf("only Apptainer supports %s://", scheme)
		case "https", "http", "s3":
			return r, "download the file, and give its path", errors.New("files are not downloaded from the web")
		}
		return r, "docker, oras, oci, oci-archive, docker-archive, dir, docker-daemon, containers-storage, squashfs, sif, edf, bundle, rootfs",
			fmt.Errorf("unknown scheme %s", text.Printable(scheme))
	}
	authority, slashes := strings.CutPrefix(rest, "//")
	switch kind {
	case KindRegistry, KindORAS:
		if slashes {
			return rules.registry(kind, authority)
		}
		if kind == KindRegistry && !strings.ContainsAny(rest, ":/#@") {
			// There is an image called docker.
			return r, "docker://docker:" + rest + ", or docker://" + rest, errors.New("it can be read in two ways")
		}
		return rules.registry(kind, rest)
	case KindDockerDaemon, KindContainersStorage:
		if slashes {
			rest = authority
		}
		if !validEngineName(rest) {
			return r, "", fmt.Errorf("%s is not the name of an image", text.Printable(rest))
		}
		return Reference{Kind: kind, Name: rest}, "", nil
	case KindEDF:
		if !strings.Contains(rest, "/") {
			if !ValidName(rest) {
				return r, "letters, digits, '.', '_' and '-'", errors.New("not the name of an environment")
			}
			return Reference{Kind: kind, Name: rest}, "", nil
		}
	}
	return rules.file(kind, rest)
}

// file parses the kinds that begin with a path.
func (rules Rules) file(kind Kind, s string) (r Reference, hint string, err error) {
	r = Reference{Kind: kind}
	switch kind {
	case KindLayout, KindOCIArchive:
		if s, r.Digest, err = cutDigest(s); err != nil {
			return r, "", err
		}
		// Cut at the first colon, as skopeo does.
		var found bool
		if s, r.Tag, found = strings.Cut(s, ":"); found && !validLayoutTag(r.Tag) {
			return r, "", fmt.Errorf("%s is not a tag", text.Printable(r.Tag))
		}
	case KindDockerArchive, KindArchive:
		var found bool
		if s, r.Name, found = strings.Cut(s, ":"); found && !validEngineName(r.Name) {
			return r, "", fmt.Errorf("%s is not the name of an image", text.Printable(r.Name))
		}
	}
	r.Path, err = rules.path(s)
	return r, "", err
}

// validLayoutTag reports whether s can be the annotation org.opencontainers.image.ref.name,
// which may be a whole reference.
func validLayoutTag(s string) bool {
	return len(s) <= maxRepository && all(s, func(c byte) bool { return isAlnum(c) || strings.IndexByte("._:/@+-", c) >= 0 }) && isAlnum(s[0])
}
