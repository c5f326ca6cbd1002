package main

import (
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/credentials"
	"github.com/ocishim/ocishim/internal/image/registry"
	"github.com/ocishim/ocishim/internal/text"
)

// A user is the environment and working directory of the caller, as data.
type user struct {
	env []string // NAME=value
	dir string   // the working directory
}

// caller returns the user of this process.
func caller() user {
	dir, err := os.Getwd()
	if err != nil {
		dir = "" // the directory was removed: relative paths fail later
	}
	return user{env: os.Environ(), dir: dir}
}

// credentials returns where to look for the user's credentials.
func (u user) credentials(authFile string) credentials.Environment {
	e := credentials.Environment{Env: u.env, AuthFile: authFile}
	e.Home = absolute(e.Getenv("HOME"))
	e.ConfigDir, e.RuntimeDir = absolute(e.Getenv("XDG_CONFIG_HOME")), absolute(e.Getenv("XDG_RUNTIME_DIR"))
	return e
}

// absolute returns an absolute path as it is, and "" for any other, as the XDG Base Directory
// Specification requires.
func absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return ""
}

// store returns the path of the user's own store, or "" if there is no home directory.
func (u user) store() string {
	e := u.credentials("")
	if dir := absolute(e.Getenv("XDG_DATA_HOME")); dir != "" {
		return filepath.Join(dir, "ocishim", "images")
	}
	if e.Home != "" {
		return filepath.Join(e.Home, ".local", "share", "ocishim", "images")
	}
	return ""
}

// policies are the files that may say which images are accepted (containers-policy.json(5)): the
// user's or else the site's.
func (u user) policies() []string {
	var files []string
	e := u.credentials("")
	if dir := e.ConfigDir; dir != "" {
		files = append(files, filepath.Join(dir, "containers", "policy.json"))
	} else if e.Home != "" {
		files = append(files, filepath.Join(e.Home, ".config", "containers", "policy.json"))
	}
	return append(files, "/etc/containers/policy.json")
}

// A program is one run of ocishim-image for a user.
type program struct {
	user
	registries *registry.Client
}

// client returns the client for registries, and creates it on first use.
func (p *program) client(c *cli.Context) (*registry.Client, error) {
	if p.registries != nil {
		return p.registries, nil
	}
	client, err := registry.New(registry.Options{
		Environment: p.credentials(c.String("authfile")), Agent: "ocishim/" + version, Warn: say,
	})
	p.registries = client
	return client, err
}

// rules returns how to read names of images: the options, otherwise registries.conf.
func (p *program) rules(c *cli.Context) (image.Rules, error) {
	r := image.Rules{Registries: c.StringSlice("registry"), Bare: c.Bool("bare"), Dir: p.dir, Home: p.credentials("").Home}
	if len(r.Registries) > 0 {
		return r, nil
	}
	client, err := p.client(c)
	if err != nil {
		return r, err
	}
	r.Registries = client.Unqualified()
	return r, nil
}

// platform returns the platform of --platform, or the host's.
func platform(c *cli.Context) (image.Platform, error) {
	if c.String("platform") == "" {
		return image.HostPlatform().Normal(), nil
	}
	return image.ParsePlatform(c.String("platform"))
}

func platformFlag() cli.Flag {
	return &cli.StringFlag{Name: "platform", Usage: "`OS/ARCH[/VARIANT]` of the image", DefaultText: image.HostPlatform().String()}
}

// note prints a line that is for information only.
func note(line string) {
	_, _ = os.Stderr.WriteString("ocishim-image: note: " + text.Whole(line) + "\n")
}

// say prints a warning.
func say(line string) {
	_, _ = os.Stderr.WriteString("ocishim-image: warning: " + text.Whole(line) + "\n")
}
