package credentials

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/ocishim/ocishim/internal/text"
)

// maxFile is the largest file that is read, in bytes.
const maxFile = 1 << 20

// An authFile is the part of Docker's config.json and Podman's auth.json
// (containers-auth.json(5)) that is read here.
type authFile struct {
	Auths       map[string]entry  `json:"auths"`
	CredHelpers map[string]string `json:"credHelpers"`
	CredsStore  string            `json:"credsStore"`
}

type entry struct {
	Auth          string `json:"auth,omitempty"` // base64 of USER:PASSWORD
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// authFile looks into one file: first the registry's own helper, as Docker and Podman do, then
// the entries for the repository, its parent paths and the registry, then the general helper.
func (s *search) authFile(path string) {
	data, readable, err := read(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.warn(fmt.Sprintf("credentials in %s cannot be read: %v", text.Whole(path), err))
		} else if s.environment.given() != "" {
			s.warn(fmt.Sprintf("the credentials file does not exist: %s", text.Whole(path)))
		}
		s.looked(path)
		return
	}
	var file authFile
	if err := json.Unmarshal(data, &file); err != nil {
		s.warn(fmt.Sprintf("credentials in %s cannot be parsed: %v", text.Whole(path), jsonReason(err)))
		s.looked(path)
		return
	}
	if readable && len(file.Auths) > 0 {
		s.warn(fmt.Sprintf("others may read the credentials in %s: chmod 600", text.Whole(path)))
	}
	// The registry's own helper goes before entries. A helper for all registries goes after
	// them, since Podman's entries can be more specific.
	helper, own := file.helper(s.asked.Registry)
	if helper != "" && s.helper(helper, path) {
		return
	}
	if s.entries(file.Auths, path) {
		return
	}
	if file.CredsStore != "" && !own && s.helper(file.CredsStore, path) {
		return
	}
	s.looked(path)
}

// helper returns the registry's own helper, and whether there is an entry for it: an empty one
// means that the helper for all registries is not asked, as in Docker.
func (f authFile) helper(registry string) (name string, own bool) {
	if name, own = f.CredHelpers[registry]; own {
		return name, own
	}
	for _, key := range slices.Sorted(maps.Keys(f.CredHelpers)) {
		if normalKey(key) == registry {
			return f.CredHelpers[key], true
		}
	}
	return "", false
}

// entries takes the entry whose key matches the longest part of the repository.
func (s *search) entries(auths map[string]entry, path string) bool {
	byKey := map[string]entry{}
	for key, e := range auths {
		key = normalKey(key)
		// If a registry has two spellings, the entry with a secret counts.
		if old, twice := byKey[key]; !twice || old == (entry{}) {
			byKey[key] = e
		}
	}
	for key := s.asked.Registry + "/" + s.asked.Repository; ; {
		if e, found := byKey[key]; found {
			if c, err := e.credential(path); err != nil {
				s.warn(fmt.Sprintf("credentials for %s in %s: %v", text.Printable(key), text.Whole(path), err))
			} else if s.take(c) {
				return true
			}
		}
		i := strings.LastIndexByte(key, '/')
		if i < 0 {
			return false
		}
		key = key[:i]
	}
}

// normalKey removes scheme and API version from the key of an entry, as older programs wrote
// them, and returns one spelling of the registry.
func normalKey(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	key = strings.TrimSuffix(key, "/")
	key = strings.TrimSuffix(strings.TrimSuffix(key, "/v1"), "/v2")
	registry, rest, below := strings.Cut(key, "/")
	registry = strings.ToLower(registry)
	if registry == "index.docker.io" || registry == "registry-1.docker.io" {
		registry = hub
	}
	if below {
		return registry + "/" + rest
	}
	return registry
}

func (e entry) credential(path string) (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken, From: path}
	if e.Auth == "" {
		return c, nil
	}
	pair, err := base64.StdEncoding.DecodeString(e.Auth)
	if err != nil {
		if pair, err = base64.RawStdEncoding.DecodeString(e.Auth); err != nil {
			return c, errors.New("auth is not base64")
		}
	}
	user, password, found := strings.Cut(strings.TrimRight(string(pair), "\x00"), ":")
	if !found {
		return c, errors.New("auth has no colon")
	}
	c.Username, c.Password = user, password
	return c, nil
}

// read returns a regular file, and whether others than its owner may read it.
func read(path string) (data []byte, readable bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false, reason(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, reason(err)
	}
	if !info.Mode().IsRegular() {
		return nil, false, errors.New("not a regular file")
	}
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, false, reason(err)
	}
	if len(data) > maxFile {
		return nil, false, fmt.Errorf("larger than %d bytes", maxFile)
	}
	return data, info.Mode().Perm()&0o044 != 0, nil
}

// reason drops the path from an error whose message already names it.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}

// jsonReason says where JSON is wrong, without quoting it: it may contain secrets.
func jsonReason(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not JSON at byte %d", syntax.Offset)
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("a %s instead of %s at byte %d", strings.SplitN(kind.Value, " ", 2)[0], kind.Type, kind.Offset)
	}
	return errors.New("not JSON")
}
