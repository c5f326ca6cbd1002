// Package profile says what a container shares with its node: as an edit of its
// configuration, so that it can be printed and judged like any other.
package profile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
)

// Annotation is the key in config.json by which a bundle chooses its profile.
const Annotation = "org.ocishim.profile"

// ErrNotAllowed says that the site does not let users choose.
var ErrNotAllowed = errors.New("the site does not let users choose the profile")

// ErrUnknown says that there is no profile of that name.
var ErrUnknown = errors.New("unknown profile")

// A Choice is a profile, and who chose it: for messages and `explain`.
type Choice struct{ Name, By string }

// Choose decides by what was asked for on the command line, else by the job, by a variable
// among jobEnv, else by the bundle, else by the site for the tasks of a Slurm step; an
// engine's container is as its bundle says. What users may not choose is ErrNotAllowed.
func Choose(cfg *config.Config, option string, jobEnv []string, annotations map[string]string, step bool) (Choice, error) {
	asked := Choice{option, "--profile"}
	if option == "" {
		asked = Choice{annotations[Annotation], "annotation " + Annotation}
		if value, _ := bundle.Getenv(jobEnv, config.ProfileVariable); value != "" {
			asked = Choice{value, config.ProfileVariable}
		}
	}
	if asked.Name == "" {
		if !step {
			return Choice{config.ProfileOCI, "no Slurm step"}, nil
		}
		return Choice{cfg.Profile, "profile, " + cfg.Origin("profile").String()}, nil
	}
	if asked.Name != config.ProfileHPC && asked.Name != config.ProfileOCI {
		return Choice{}, fmt.Errorf("%s %q: %w: choose %s or %s", asked.By, asked.Name, ErrUnknown, config.ProfileHPC, config.ProfileOCI)
	}
	if step && asked.Name != cfg.Profile && !slices.Contains(cfg.Users.May, config.MayProfile) {
		return Choice{}, fmt.Errorf("%s %q: %w (users.may, %s)", asked.By, asked.Name, ErrNotAllowed, cfg.Origin("users.may"))
	}
	return asked, nil
}

// bind is a bind mount of a directory or file of the node, with all that is
// mounted below it.
func bind(source, destination string, options ...string) specs.Mount {
	return bundle.Bind(source, destination, append([]string{"rbind"}, options...)...)
}
