package registry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pelletier/go-toml/v2"

	"github.com/ocishim/ocishim/internal/image/credentials"
	"github.com/ocishim/ocishim/internal/text"
)

// maxConf is the largest registries.conf that is read, in bytes.
const maxConf = 1 << 20

// A conf holds the supported part of containers-registries.conf(5), version 2. Unknown keys are
// ignored: other programs use them.
type conf struct {
	Unqualified []string          `toml:"unqualified-search-registries"`
	Registries  []registryConf    `toml:"registry"`
	Aliases     map[string]string `toml:"aliases"`

	// ShortNames is what a name without a registry means if several registries are searched.
	ShortNames string `toml:"short-name-mode"`

	// Helpers keep credentials for all registries; authFiles stands for the files.
	Helpers []string `toml:"credential-helpers"`
}

// The values of short-name-mode. Without a terminal to ask at, which is never done here, permissive
// searches all registries, and so does disabled.
const (
	enforcing  = "enforcing"
	permissive = "permissive"
	disabled   = "disabled"
)

// authFiles is the member of credential-helpers that stands for containers-auth.json(5).
const authFiles = "containers-auth.json"

type registryConf struct {
	Prefix     string       `toml:"prefix"`
	Location   string       `toml:"location"`
	Insecure   bool         `toml:"insecure"`
	Blocked    bool         `toml:"blocked"`
	DigestOnly bool         `toml:"mirror-by-digest-only"`
	Mirrors    []mirrorConf `toml:"mirror"`
	file       string
}

type mirrorConf struct {
	Location string `toml:"location"`
	Insecure bool   `toml:"insecure"`
	Pull     string `toml:"pull-from-mirror"` // all, digest-only or tag-only
}

// readConf reads the user's registries.conf, or the host's if the user has none, and then the
// files in registries.conf.d, the host's before the user's. Later files override earlier ones. A
// file that cannot be parsed is an error: it may be the one that blocks a registry.
func readConf(e credentials.Environment, etc string) (conf, error) {
	var c conf
	main := filepath.Join(etc, "containers", "registries.conf")
	dirs := []string{main + ".d"}
	if config := e.Config(); config != "" {
		own := filepath.Join(config, "containers", "registries.conf")
		if _, err := os.Stat(own); err == nil {
			main = own
		}
		dirs = append(dirs, own+".d")
	}
	if given := e.Getenv("CONTAINERS_REGISTRIES_CONF"); given != "" {
		main, dirs = given, nil
	}
	files := []string{main}
	for _, dir := range dirs {
		list, err := os.ReadDir(dir) // sorted
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("read registries' configuration: %w", err)
		}
		for _, f := range list {
			if strings.HasSuffix(f.Name(), ".conf") {
				files = append(files, filepath.Join(dir, f.Name()))
			}
		}
	}
	for _, file := range files {
		if err := c.merge(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("read registries' configuration: %w", err)
		}
	}
	return c, nil
}

// merge reads a file, which overrides those before it.
func (c *conf) merge(file string) error {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", text.Whole(file))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConf+1))
	if err != nil {
		return err
	}
	if len(data) > maxConf {
		return fmt.Errorf("%s: larger than %d bytes", text.Whole(file), maxConf)
	}
	var next conf
	if err := toml.Unmarshal(data, &next); err != nil {
		return fmt.Errorf("%s: %w", text.Whole(file), err)
	}
	switch next.ShortNames {
	case "":
	case enforcing, permissive, disabled:
		c.ShortNames = next.ShortNames
	default:
		return fmt.Errorf("%s: short-name-mode %s: expected %s, %s or %s", text.Whole(file), text.Printable(next.ShortNames), enforcing, permissive, disabled)
	}
	if next.Helpers != nil {
		c.Helpers = slices.DeleteFunc(next.Helpers, func(name string) bool { return name == authFiles })
	}
	if next.Unqualified != nil {
		c.Unqualified = next.Unqualified
	}
	for _, r := range next.Registries {
		r.file = file
		if r.Prefix == "" {
			r.Prefix = r.Location
		}
		if r.Location == "" && !strings.HasPrefix(r.Prefix, "*.") {
			r.Location = r.Prefix
		}
		if r.Prefix == "" {
			return fmt.Errorf("%s: a registry with neither prefix nor location", text.Whole(file))
		}
		c.Registries = slices.DeleteFunc(c.Registries, func(old registryConf) bool { return old.Prefix == r.Prefix })
		c.Registries = append(c.Registries, r)
	}
	for name, target := range next.Aliases {
		if c.Aliases == nil {
			c.Aliases = map[string]string{}
		}
		c.Aliases[name] = target
	}
	return nil
}

// of returns the most specific entry for REGISTRY/REPOSITORY, and how many bytes of the name its
// prefix matches.
func (c conf) of(name string) (found *registryConf, prefix int) {
	for i := range c.Registries {
		r := &c.Registries[i]
		if n := r.covers(name); n > 0 && (found == nil || len(r.Prefix) > len(found.Prefix)) {
			found, prefix = r, n
		}
	}
	return found, prefix
}

// covers returns how many bytes of name the prefix matches, or 0 if it does not match.
func (r registryConf) covers(name string) int {
	if wild, is := strings.CutPrefix(r.Prefix, "*"); is {
		host, _, _ := strings.Cut(name, "/")
		if bare, _, _ := strings.Cut(host, ":"); strings.HasSuffix(host, wild) || strings.HasSuffix(bare, wild) {
			return len(host)
		}
		return 0
	}
	if rest, is := strings.CutPrefix(name, r.Prefix); is && (rest == "" || rest[0] == '/') {
		return len(r.Prefix)
	}
	return 0
}

// takes reports whether a mirror may be used for a pull by digest, or by tag.
func (m mirrorConf) takes(byDigest, digestOnly bool) bool {
	switch {
	case m.Pull == "digest-only" || m.Pull == "" && digestOnly:
		return byDigest
	case m.Pull == "tag-only":
		return !byDigest
	}
	return true
}
