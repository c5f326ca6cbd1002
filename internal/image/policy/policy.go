// Package policy reads containers-policy.json(5): which images a site or a user accepts. ocishim
// verifies digests and no signatures, so a policy that demands a signature refuses the image.
package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

var (
	// ErrSignature says that the policy demands a signature.
	ErrSignature = errors.New("the policy demands a signature, and ocishim verifies none")
	// ErrRejected says that the policy rejects the image.
	ErrRejected = errors.New("the policy rejects it")
)

// most is how large a policy may be, in bytes.
const most = 1 << 20

// A Policy is what one file says. The zero value accepts everything.
type Policy struct {
	path       string
	Default    []requirement                       `json:"default"`
	Transports map[string]map[string][]requirement `json:"transports"`
}

// A requirement is one of several that an image has to meet. Only its type matters here.
type requirement struct {
	Type string `json:"type"`
}

// Load reads the first of the files that exists. Without any, everything is accepted. A file that
// cannot be read or understood is an error, since it may have demanded something.
func Load(files ...string) (*Policy, error) {
	for _, file := range files {
		data, err := read(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		p := &Policy{path: file}
		if err == nil {
			err = json.Unmarshal(data, p)
		}
		if err == nil && len(p.Default) == 0 {
			err = errors.New(`"default" is missing`)
		}
		if err != nil {
			return nil, fmt.Errorf("read policy %s: %w", text.Printable(file), err)
		}
		return p, nil
	}
	return new(Policy), nil
}

func read(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a file")
	case info.Size() > most:
		return nil, fmt.Errorf("%d bytes, more than %d", info.Size(), most)
	}
	return os.ReadFile(file)
}

// Check returns an error unless the policy accepts the image as it is.
func (p *Policy) Check(r image.Reference) error {
	for _, q := range p.of(r) {
		var err error
		switch q.Type {
		case "insecureAcceptAnything":
			continue
		case "reject":
			err = ErrRejected
		default: // signedBy, sigstoreSigned, and what may come
			err = ErrSignature
		}
		return fmt.Errorf("%s: %w", text.Printable(p.path), err)
	}
	return nil
}

// of returns the requirements of the most specific scope that the policy has for the image.
func (p *Policy) of(r image.Reference) []requirement {
	transport, scopes := scopesOf(r)
	rules := p.Transports[transport]
	for _, scope := range append(scopes, "") {
		if found, ok := rules[scope]; ok {
			return found
		}
	}
	return p.Default
}

// scopesOf returns the transport of an image, as the policy calls it, and its scopes, the most
// specific first.
func scopesOf(r image.Reference) (transport string, scopes []string) {
	switch r.Kind {
	case image.KindRegistry, image.KindORAS:
		return "docker", registryScopes(r)
	case image.KindArchive, image.KindDockerArchive:
		return "docker-archive", pathScopes(r.Path)
	case image.KindDockerDaemon, image.KindContainersStorage:
		return string(r.Kind), []string{r.Name}
	}
	return string(r.Kind), pathScopes(r.Path)
}

func registryScopes(r image.Reference) (scopes []string) {
	at := r.Registry + "/" + r.Repository
	if r.Digest != "" {
		scopes = append(scopes, at+"@"+string(r.Digest))
	}
	if r.Tag != "" {
		scopes = append(scopes, at+":"+r.Tag)
	}
	for ; at != "." && at != "/"; at = path.Dir(at) {
		scopes = append(scopes, at)
	}
	// *.example.com stands for all hosts below it.
	for _, domain, found := strings.Cut(r.Registry, "."); found; _, domain, found = strings.Cut(domain, ".") {
		scopes = append(scopes, "*."+domain)
	}
	return scopes
}

func pathScopes(file string) (scopes []string) {
	for ; filepath.IsAbs(file) && file != "/"; file = filepath.Dir(file) {
		scopes = append(scopes, file)
	}
	return scopes
}
