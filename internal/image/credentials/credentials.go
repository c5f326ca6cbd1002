// Package credentials finds what a user has to show to a registry, in the files and programs
// of Docker, Podman, Apptainer and enroot, and keeps what `ocishim image login` is given.
// Nothing here asks a person, and no secret is in an error or a String.
package credentials

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// An Environment says where to look, as data: whoever asks need not be the user.
type Environment struct {
	// Env is the user's environment, NAME=value. Helpers of Docker get it.
	Env []string

	// Home is the user's home directory.
	Home string

	// ConfigDir and RuntimeDir are XDG_CONFIG_HOME and XDG_RUNTIME_DIR; where ConfigDir is
	// empty it is .config in Home.
	ConfigDir, RuntimeDir string

	// AuthFile is the file that --authfile names. It is the only one then.
	AuthFile string
}

// Getenv returns a variable of Env, the last one of that name.
func (e Environment) Getenv(name string) string {
	for _, variable := range slices.Backward(e.Env) {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// Config is the directory for the user's configuration; empty where none is known.
func (e Environment) Config() string {
	switch {
	case e.ConfigDir != "":
		return e.ConfigDir
	case e.Home != "":
		return filepath.Join(e.Home, ".config")
	}
	return ""
}

// A Credential is what a registry is shown. One of Password, IdentityToken and RegistryToken
// is set.
type Credential struct {
	Username, Password string

	// IdentityToken is exchanged for a token by OAuth 2; RegistryToken is shown as it is.
	IdentityToken, RegistryToken string

	// From is the file, helper or variable that it is of.
	From string
}

// String says whose it is and where it was found, and nothing that is secret.
func (c Credential) String() string {
	user := "token"
	if c.Username != "" {
		user = "user " + text.Printable(c.Username)
	}
	return user + " of " + text.Printable(c.From)
}

// GoString is String: no way of printing tells a secret.
func (c Credential) GoString() string { return c.String() }

// empty reports whether there is nothing to show.
func (c Credential) empty() bool {
	return c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// An Answer is what was found for an image.
type Answer struct {
	// Found is what to show; nil is nothing.
	Found *Credential

	// Looked are the files and programs that had nothing, for an error.
	Looked []string

	// Warnings are for the user, a line each: files that others may read, or that could
	// not be understood.
	Warnings []string
}

// An Asked is what credentials are looked for.
type Asked struct {
	Registry, Repository string

	// User is the one whose credentials are meant; empty is any.
	User string

	// Mirror says that the registry was not named by the user, so that credentials that
	// are for no registry in particular are not for it.
	Mirror bool
}

// Find looks in this order: AuthFile or REGISTRY_AUTH_FILE, and nothing else if one is given;
// RuntimeDir/containers/auth.json; .config/containers/auth.json; .docker/config.json, with
// its helpers; enroot's .credentials; APPTAINER_DOCKER_USERNAME and _PASSWORD;
// OCISHIM_REGISTRY_USERNAME and _PASSWORD. A file that cannot be read is a warning: the image
// may be for anybody.
func (e Environment) Find(ctx context.Context, asked Asked) Answer {
	s := search{environment: e, asked: asked, ctx: ctx}
	for _, path := range e.authFiles() {
		if s.answer.Found != nil {
			return s.answer
		}
		s.authFile(path)
	}
	if s.answer.Found == nil && e.given() == "" {
		s.enroot()
	}
	for _, prefix := range []string{"APPTAINER_DOCKER", "OCISHIM_REGISTRY"} {
		if s.answer.Found == nil && !asked.Mirror {
			s.variables(prefix)
		}
	}
	return s.answer
}

// given is the file that somebody names, so that no other is read.
func (e Environment) given() string {
	if e.AuthFile != "" {
		return e.AuthFile
	}
	return e.Getenv("REGISTRY_AUTH_FILE")
}

// authFiles are those in the format of Docker's config.json.
func (e Environment) authFiles() []string {
	if given := e.given(); given != "" {
		return []string{given}
	}
	var files []string
	if e.RuntimeDir != "" {
		files = append(files, filepath.Join(e.RuntimeDir, "containers", "auth.json"))
	}
	if config := e.Config(); config != "" {
		files = append(files, filepath.Join(config, "containers", "auth.json"))
	}
	if docker := e.Getenv("DOCKER_CONFIG"); docker != "" {
		files = append(files, filepath.Join(docker, "config.json"))
	} else if e.Home != "" {
		files = append(files, filepath.Join(e.Home, ".docker", "config.json"))
	}
	return files
}

// A search is one call of Find.
type search struct {
	environment Environment
	asked       Asked
	ctx         context.Context
	answer      Answer
}

// take keeps a credential if it is of the user that is meant.
func (s *search) take(c Credential) bool {
	if c.empty() || s.asked.User != "" && s.asked.User != c.Username {
		return false
	}
	s.answer.Found = &c
	return true
}

func (s *search) looked(where string) { s.answer.Looked = append(s.answer.Looked, where) }

func (s *search) warn(warning string) { s.answer.Warnings = append(s.answer.Warnings, warning) }

// variables takes a pair of the environment.
func (s *search) variables(prefix string) {
	c := Credential{
		Username: s.environment.Getenv(prefix + "_USERNAME"),
		Password: s.environment.Getenv(prefix + "_PASSWORD"),
		From:     prefix + "_USERNAME",
	}
	if c.Username == "" || !s.take(c) {
		s.looked(prefix + "_USERNAME")
	}
}

// hub is the registry that has many names.
const hub = "docker.io"

// helperKey is what Docker calls a registry when it asks a helper.
func helperKey(registry string) string {
	if registry == hub {
		return "https://index.docker.io/v1/"
	}
	return registry
}
