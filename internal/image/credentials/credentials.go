// Package credentials finds a user's credentials for a registry in the files and programs of
// Docker, Podman, Apptainer and enroot, and stores those given to `ocishim image login`. It
// never prompts, and no error or String contains a secret.
package credentials

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// An Environment says where to look for a user's credentials, as data.
type Environment struct {
	// Env is the user's environment, as NAME=value. Docker's credential helpers run in it.
	Env []string

	// Home is the user's home directory.
	Home string

	// ConfigDir and RuntimeDir are XDG_CONFIG_HOME and XDG_RUNTIME_DIR; an empty ConfigDir
	// means .config in Home.
	ConfigDir, RuntimeDir string

	// AuthFile is the file that --authfile names. If set, nothing else is looked at.
	AuthFile string

	// Helpers are the helpers that registries.conf names for all registries, without their prefix.
	Helpers []string
}

// Getenv returns the value of a variable in Env; the last one of the name counts.
func (e Environment) Getenv(name string) string {
	for _, variable := range slices.Backward(e.Env) {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// Config returns the directory of the user's configuration, or "" if it is not known.
func (e Environment) Config() string {
	switch {
	case e.ConfigDir != "":
		return e.ConfigDir
	case e.Home != "":
		return filepath.Join(e.Home, ".config")
	}
	return ""
}

// A Credential is what proves the user to a registry. One of Password, IdentityToken and
// RegistryToken is set.
type Credential struct {
	Username, Password string

	// IdentityToken is exchanged for an access token by OAuth 2; RegistryToken is sent as it is.
	IdentityToken, RegistryToken string

	// From is the file, helper or variable that the credential comes from.
	From string
}

// String returns the user and where the credential was found, but no secret.
func (c Credential) String() string {
	user := "token"
	if c.Username != "" {
		user = "user " + text.Printable(c.Username)
	}
	return user + " of " + text.Printable(c.From)
}

// GoString returns String, so that %#v does not print a secret either.
func (c Credential) GoString() string { return c.String() }

// empty reports whether the credential has neither password nor token.
func (c Credential) empty() bool {
	return c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// An Answer is what Find found.
type Answer struct {
	// Found is the credential, or nil if none was found.
	Found *Credential

	// Looked lists the files and variables without a matching credential, for error messages.
	Looked []string

	// Warnings are lines for the user, about files that others may read or that cannot be
	// parsed.
	Warnings []string
}

// An Asked says what the credentials are for.
type Asked struct {
	Registry, Repository string

	// User selects one user's credentials; empty means any user's.
	User string

	// Mirror says that the user did not name this registry. Then credentials that are not
	// for a particular registry are not used.
	Mirror bool
}

// Find looks for a credential in this order: AuthFile, and nothing else if it is given;
// REGISTRY_AUTH_FILE, and no other file; RuntimeDir/containers/auth.json;
// .config/containers/auth.json; .docker/config.json, with its helpers; those of registries.conf;
// enroot's .credentials; APPTAINER_DOCKER_USERNAME and _PASSWORD; OCISHIM_REGISTRY_USERNAME and
// _PASSWORD. A file that cannot be read only gives a
// warning: the image may be public.
func (e Environment) Find(ctx context.Context, asked Asked) Answer {
	s := search{environment: e, asked: asked, ctx: ctx}
	for _, path := range e.authFiles() {
		if s.answer.Found != nil {
			return s.answer
		}
		s.authFile(path)
	}
	if e.AuthFile != "" {
		return s.answer
	}
	if e.given() == "" {
		for _, helper := range e.Helpers {
			if s.answer.Found == nil && !s.helper(helper, "registries.conf") {
				s.looked("docker-credential-" + helper)
			}
		}
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

// given returns AuthFile or REGISTRY_AUTH_FILE: if it is set, no other file is read.
func (e Environment) given() string {
	if e.AuthFile != "" {
		return e.AuthFile
	}
	return e.Getenv("REGISTRY_AUTH_FILE")
}

// authFiles returns the files in the format of Docker's config.json.
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

// take keeps a credential if it belongs to the user who was asked for.
func (s *search) take(c Credential) bool {
	if c.empty() || s.asked.User != "" && s.asked.User != c.Username {
		return false
	}
	s.answer.Found = &c
	return true
}

func (s *search) looked(where string) { s.answer.Looked = append(s.answer.Looked, where) }

func (s *search) warn(warning string) { s.answer.Warnings = append(s.answer.Warnings, warning) }

// variables takes the credential in PREFIX_USERNAME and PREFIX_PASSWORD.
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

// hub is Docker Hub, which has many names.
const hub = "docker.io"

// helperKey returns the name by which Docker asks a helper for a registry.
func helperKey(registry string) string {
	if registry == hub {
		return "https://index.docker.io/v1/"
	}
	return registry
}
