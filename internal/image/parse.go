package image

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

const (
	dockerHub = "docker.io"
	official  = "library/" // the namespace of Docker Hub's official images
	latest    = "latest"

	// maxReference is longer than any path or image name, in bytes.
	maxReference = 8192
)

// ParseReference parses a reference by its form alone, without looking at files or registries.
// Decide finds out what a path leads to. Errors are ReferenceErrors.
//
//	@NAME                                              a named container
//	/PATH, ./PATH, ../PATH, ~/PATH                     to be decided by content
//	SCHEME:...                                         see the kinds
//	[USER@][REGISTRY/|REGISTRY#]REPO[:TAG][@DIGEST]    an image of a registry
//	NAME                                               an environment, or an image of the store
//
// The part before the first slash is a registry if it has a dot or a colon or is localhost.
func ParseReference(s string, rules Rules) (Reference, error) {
	r, hint, err := parse(s, rules)
	if err != nil {
		return Reference{}, &ReferenceError{Reference: s, Err: err, Hint: hint}
	}
	return r, nil
}

func parse(s string, rules Rules) (r Reference, hint string, err error) {
	switch {
	case s == "":
		return r, "", errors.New("no name")
	case len(s) > maxReference:
		return r, "", fmt.Errorf("longer than %d bytes", maxReference)
	case !text.Fits(s):
		return r, "", errors.New("a control character, or bytes that are not UTF-8")
	case s[0] == '@':
		if !ValidName(s[1:]) {
			return r, "letters, digits, '.', '_' and '-'", errors.New("not the name of a container")
		}
		return Reference{Kind: KindContainer, Name: s[1:]}, "", nil
	case isPath(s):
		r = Reference{Kind: KindPath}
		r.Path, err = rules.path(s)
		return r, "", err
	}
	if scheme, rest, found := cutScheme(s); found {
		return rules.scheme(scheme, rest)
	}
	if !strings.ContainsAny(s, "/:#@") {
		if strings.Contains(s, "?") {
			return r, noOptions, errors.New("a '?'")
		}
		if !ValidName(s) {
			return r, "letters, digits, '.', '_' and '-'", errors.New("not a name")
		}
		return Reference{Kind: KindName, Name: s}, "", nil
	}
	return rules.registry(KindRegistry, s)
}

// InRegistry returns the registry image that a bare name stands for, if the site allows it
// (Rules.Bare). Callers try it when no environment and no image of the store has the name.
func (r Reference) InRegistry(rules Rules) (Reference, error) {
	if r.Kind != KindName {
		return r, nil
	}
	if !rules.Bare {
		return Reference{}, &ReferenceError{
			Reference: r.Name, Err: errors.New("a single word is not looked up in registries"),
			Hint: "docker://" + strings.ToLower(r.Name),
		}
	}
	found, hint, err := rules.registry(KindRegistry, r.Name)
	if err != nil {
		return Reference{}, &ReferenceError{Reference: r.Name, Err: err, Hint: hint}
	}
	return found, nil
}

const noOptions = "give options to ocishim, in OCISHIM_* variables or in an environment file, not in the name"

// registry parses [USER@][REGISTRY/|REGISTRY#]REPO[:TAG][@DIGEST].
func (rules Rules) registry(kind Kind, s string) (r Reference, hint string, err error) {
	r = Reference{Kind: kind}
	if strings.Contains(s, "?") {
		return r, noOptions, errors.New("a '?'")
	}
	s, r.Digest, err = cutDigest(s)
	if err != nil {
		return r, "", err
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		r.User, s = s[:i], s[i+1:]
		if strings.Contains(r.User, ":") && !strings.Contains(r.User, "/") {
			return r, "ocishim image login", errors.New("a password in a name")
		}
		if !validUser(r.User) {
			return r, "", errors.New("the part before '@' is not a valid user")
		}
	}
	registry, repository, given := strings.Cut(s, "#")
	if !given {
		registry, repository, given = strings.Cut(s, "/")
		if !given || !looksLikeRegistry(registry) {
			registry, repository, given = "", s, false
		}
	}
	if given && !ValidRegistry(registry) {
		return r, "", fmt.Errorf("%s is not a registry", text.Printable(registry))
	}
	repository, r.Tag, err = cutTag(repository)
	if err != nil {
		return r, "", err
	}
	if !given && !strings.Contains(repository, "/") && looksLikeRegistry(repository) {
		return r, repository + "/REPOSITORY", errors.New("no repository")
	}
	if hint, err = checkRepository(repository); err != nil {
		return r, hint, err
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = latest
	}
	if given {
		r.Registry = canonicalRegistry(registry)
	} else if hint, err = r.search(rules.Registries); err != nil {
		return r, hint, err
	}
	r.Repository = repositoryAt(r.Registry, repository)
	if len(r.Registry)+1+len(r.Repository) > maxRepository {
		return r, "", fmt.Errorf("a registry and repository of more than %d bytes", maxRepository)
	}
	return r, "", nil
}

// search fills in Registry and Search from the site's registries.
func (r *Reference) search(registries []string) (hint string, err error) {
	if len(registries) == 0 {
		registries = []string{dockerHub}
	}
	r.Short = true
	for i, registry := range registries {
		if !ValidRegistry(registry) {
			return "the site's image.registries", fmt.Errorf("%s is not a registry", text.Printable(registry))
		}
		if i == 0 {
			r.Registry = canonicalRegistry(registry)
		} else {
			r.Search = append(r.Search, canonicalRegistry(registry))
		}
	}
	return "", nil
}

func checkRepository(s string) (hint string, err error) {
	switch {
	case s == "":
		return "", errors.New("no repository")
	case strings.ToLower(s) != s:
		return strings.ToLower(s), errors.New("upper case in a repository")
	case !validRepository(s):
		return "", fmt.Errorf("%s is not a repository", text.Printable(s))
	}
	return "", nil
}

// repositoryAt returns the repository with library/ in front where the registry implies it.
func repositoryAt(registry, repository string) string {
	if registry == dockerHub && !strings.Contains(repository, "/") {
		return official + repository
	}
	return repository
}

// canonicalRegistry returns one spelling for all spellings of a registry.
func canonicalRegistry(s string) string {
	s = strings.ToLower(s)
	switch s {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return dockerHub
	}
	return s
}

// cutDigest cuts @ALGORITHM:HEX off the end. Other text after the last '@' is left in place,
// since '@' also follows a user; it is an error if it looks like a wrong digest.
func cutDigest(s string) (string, Digest, error) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return s, "", nil
	}
	digest := s[i+1:]
	if ValidDigest(Digest(digest)) {
		return s[:i], Digest(digest), nil
	}
	algorithm, hex, _ := strings.Cut(digest, ":")
	switch {
	case strings.HasPrefix(algorithm, "sha256") && !strings.Contains(digest, "/"):
		return s, "", fmt.Errorf("%s: a digest is sha256: followed by 64 lower-case hexadecimal digits", text.Printable(digest))
	case (algorithm == "sha512" || algorithm == "sha384" || algorithm == "blake3") && !strings.Contains(hex, "/"):
		return s, "", fmt.Errorf("a digest by %s: only sha256 is supported", algorithm)
	}
	return s, "", nil
}

// cutTag cuts :TAG off the end of a repository.
func cutTag(s string) (repository, tag string, err error) {
	repository, tag, found := strings.Cut(s, ":")
	if found && !validTag(tag) {
		return s, "", fmt.Errorf("%s is not a tag", text.Printable(tag))
	}
	return repository, tag, nil
}

func isPath(s string) bool {
	return s == "." || s == ".." || s == "~" || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") ||
		strings.HasPrefix(s, "../") || strings.HasPrefix(s, "~/")
}

// path cleans a path, and makes it absolute if rules.Dir is set.
func (rules Rules) path(s string) (string, error) {
	if s == "" {
		return "", errors.New("no path")
	}
	if rest, home := strings.CutPrefix(s, "~"); home && (rest == "" || rest[0] == '/') {
		if rules.Home == "" {
			return "", errors.New("the home directory is not known")
		}
		s = rules.Home + "/" + rest
	}
	if !filepath.IsAbs(s) && rules.Dir != "" {
		s = filepath.Join(rules.Dir, s)
	}
	s = filepath.Clean(s)
	if !isPath(s) {
		s = "./" + s
	}
	return s, nil
}
