// Package profile decides what a container shares with its host. The result is an edit of its
// configuration, so that it can be printed and checked like any other.
package profile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/request"
)

// ErrNotAllowed says that the site does not let users choose.
var ErrNotAllowed = errors.New("the site does not let users choose the profile")

// ErrUnknown says that there is no profile of that name.
var ErrUnknown = errors.New("unknown profile")

// Choose returns the profile that was asked for, if the site lets users choose it; otherwise the
// error is an ErrNotAllowed. Without a choice the site decides for the tasks of a Slurm step, and
// an engine's container follows its bundle.
func Choose(cfg *config.Config, asked request.Choice, step bool) (request.Choice, error) {
	if asked.Value == "" {
		if !step {
			return request.Choice{Value: config.ProfileOCI, By: "no Slurm step"}, nil
		}
		return request.Choice{Value: cfg.Profile, By: "profile, " + cfg.Origin("profile").String()}, nil
	}
	if asked.Value != config.ProfileHPC && asked.Value != config.ProfileOCI {
		return request.Choice{}, fmt.Errorf("%s %q: %w: choose %s or %s", asked.By, asked.Value, ErrUnknown, config.ProfileHPC, config.ProfileOCI)
	}
	if step && asked.Value != cfg.Profile && !slices.Contains(cfg.Users.May, config.MayProfile) {
		return request.Choice{}, fmt.Errorf("%s %q: %w (users.may, %s)", asked.By, asked.Value, ErrNotAllowed, cfg.Origin("users.may"))
	}
	return asked, nil
}

// bind returns a bind mount of a directory or file of the host, with everything mounted below it.
func bind(source, destination string, options ...string) specs.Mount {
	return bundle.Bind(source, destination, append([]string{"rbind"}, options...)...)
}
