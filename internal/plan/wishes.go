package plan

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/profile"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/text"
)

// ErrNoSource says that a mount's source does not exist on this host.
var ErrNoSource = errors.New("there is no such file or directory")

// ErrNoWorkdir says that a working directory that was asked for is not in the container.
var ErrNoWorkdir = errors.New("the container has no such directory")

// ErrEngine says that a container of root's has a wish, which the site could not limit: who may write
// an engine's annotations may not be who may mount the host's directories.
var ErrEngine = errors.New("it counts in tasks of Slurm, and in containers of users, but not in root's")

// askedBy returns the origin of each wish, by the words of users.may; empty for no wish.
func askedBy(r request.Request) map[string]string {
	by := map[string]string{
		"workdir": r.ContainerWorkdir.By, "home": r.Home.By, "entrypoint": r.Entrypoint.By,
		"writable": r.Writable.By,
	}
	if r.RemapRoot.Value != "false" {
		by["remap_root"] = r.RemapRoot.By
	}
	for _, c := range r.Unshare {
		by["unshare"] = c.By
	}
	for _, m := range r.Mounts {
		by["mounts"] = m.By
	}
	for _, v := range r.Env {
		by["env"] = v.By
	}
	for _, c := range r.NoEnv {
		by["env"] = c.By
	}
	if r.Save.By != "" {
		by["writable"] = r.Save.By
	}
	return by
}

// MayAsk checks what the user asks for against the site's users.may.
func MayAsk(cfg *config.Config, r request.Request) error {
	for key, by := range askedBy(r) {
		if by == "" {
			continue
		}
		if err := cfg.Allow(key, by); err != nil {
			return err
		}
	}
	return nil
}

// refuseRoots refuses every wish for a container of root's.
func refuseRoots(r request.Request) error {
	for _, by := range askedBy(r) {
		if by != "" {
			return fmt.Errorf("%s: %w", by, ErrEngine)
		}
	}
	return nil
}

// jobsOwn are prefixes of the job's variables that a pattern does not take away: what runs in a step
// needs them. A name without a pattern does.
var jobsOwn = []string{"SLURM", "PMI", "PMIX", "OCISHIM_", "HOME", "USER", "LOGNAME"}

// hidden removes variables of the job before the image's are set.
func (p *composition) hidden() error {
	e := bundle.Edit{From: "env"}
	for _, c := range p.request.NoEnv {
		for _, entry := range p.env() {
			name, _, _ := strings.Cut(entry, "=")
			match, err := path.Match(c.Value, name)
			if err != nil {
				return fmt.Errorf("%s: pattern %s: %w", c.By, text.Quoted(c.Value), err)
			}
			if match && (name == c.Value || !hasPrefix(name, jobsOwn)) {
				e.EnvUnset = append(e.EnvUnset, name)
				e.Rule = c.By
			}
		}
	}
	if len(e.EnvUnset) == 0 {
		return nil
	}
	return p.apply(e)
}

func hasPrefix(name string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// wishes applies what the user asks for, over what the image, the profile and the site say. job is
// the environment before the image's.
func (p *composition) wishes(job []string) error {
	for _, m := range p.request.Mounts {
		if err := p.mount(m); err != nil {
			return err
		}
	}
	before := slices.Clone(p.env())
	for _, v := range p.request.Env {
		if err := p.variable(v, job, before); err != nil {
			return err
		}
	}
	if c := p.request.ContainerWorkdir; c.Value != "" {
		if !p.hasDirectory(path.Clean(c.Value)) {
			return fmt.Errorf("%s %s: %w", c.By, text.Printable(c.Value), ErrNoWorkdir)
		}
		return p.apply(bundle.Edit{From: "workdir", Rule: c.By, Cwd: path.Clean(c.Value)})
	}
	return nil
}

// unshare gives the container namespaces of its own.
func (p *composition) unshare() error {
	if len(p.request.Unshare) == 0 {
		return nil
	}
	return p.apply(profile.Unshare(p.request.Unshare, p.scene.Host.Exists))
}

// mount applies one mount, which goes where it says, whatever the image has there.
func (p *composition) mount(m request.Mount) error {
	e := bundle.Edit{From: "mounts", Rule: m.By}
	switch {
	case m.Unmount:
		e.DropMounts = []string{m.Destination}
		return p.apply(e)
	case m.Tmpfs:
		e.Mounts = []specs.Mount{{
			Type: "tmpfs", Source: "tmpfs", Destination: m.Destination, Options: append([]string{"nosuid", "nodev", "mode=0700"}, m.Options...),
		}}
	default:
		source := m.Source
		if !filepath.IsAbs(source) {
			source = filepath.Join(p.scene.Workdir, source)
		}
		if !filepath.IsAbs(source) || !p.scene.Host.Exists(filepath.Clean(source)) {
			if m.Optional {
				return nil
			}
			name, _ := os.Hostname()
			return fmt.Errorf("%s: mount %s: %w on host %s", m.By, text.Printable(source), ErrNoSource, name)
		}
		if m.Squashfs {
			e.Mounts = []specs.Mount{{
				Type: bundle.SquashfsType, Source: filepath.Clean(source), Destination: m.Destination, Options: append([]string{"ro", "nosuid", "nodev"}, m.Options...),
			}}
			break
		}
		e.Mounts = []specs.Mount{bundle.Bind(filepath.Clean(source), m.Destination, bindOptions(m.Options)...)}
	}
	e.Exact = []string{m.Destination}
	return p.apply(e)
}

// bindOptions adds what is usual to the options of a bind mount.
func bindOptions(options []string) []string {
	recursive := true
	for _, o := range options {
		recursive = recursive && o != "bind" && o != "rbind"
	}
	usual := []string{"nosuid", "nodev"}
	if recursive {
		usual = append([]string{"rbind"}, usual...)
	}
	return append(usual, options...)
}

// variable changes one variable. before is the environment before any of the user's changes: what a
// value means does not depend on their order.
func (p *composition) variable(v request.Variable, job, before []string) error {
	e := bundle.Edit{From: "env", Rule: v.By}
	switch {
	case v.Unset:
		e.EnvUnset = []string{v.Name}
	case v.Pass:
		value, found := bundle.Getenv(job, v.Name)
		if !found {
			return nil
		}
		e.Env = []string{v.Name + "=" + value}
	default:
		value := v.Value
		if v.Expand {
			var err error
			value, err = request.Expand(value, func(name string) (string, bool) { return bundle.Getenv(before, name) })
			if err != nil {
				return fmt.Errorf("%s: variable %s: %w", v.By, v.Name, err)
			}
		}
		e.Env = []string{v.Name + "=" + value}
	}
	return p.apply(e)
}

// hasDirectory reports whether the directory is in the image or below a mount of the host that has
// it.
func (p *composition) hasDirectory(dir string) bool {
	mounts := p.bundle.Spec.Mounts
	for i := len(mounts) - 1; i >= 0; i-- {
		m := mounts[i]
		at := path.Clean(m.Destination)
		rest, below := strings.CutPrefix(dir+"/", strings.TrimSuffix(at, "/")+"/")
		if !below {
			continue
		}
		switch m.Type {
		case "tmpfs":
			return rest == ""
		case bundle.SquashfsType:
			return true // the launch finds out
		}
		return bundle.IsBind(m) && p.scene.Host.Exists(filepath.Join(m.Source, rest))
	}
	return p.isDirectoryInImage(dir)
}
