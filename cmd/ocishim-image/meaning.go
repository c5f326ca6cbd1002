package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/storage"
)

// errNotHere says that no store has an image, and that no registry is to be asked.
var errNotHere = errors.New("no store has the image, and it is not to be pulled")

// pullPolicy reads --pull, or the variable for it.
func (p *program) pullPolicy(c *cli.Context) (image.Pull, error) {
	if c.IsSet("pull") {
		return image.ParsePull(c.String("pull"), "--pull")
	}
	return image.ParsePull(p.credentials("").Getenv(image.PullVariable), image.PullVariable)
}

// meaning returns the digest of an image. Within a job a name keeps the meaning that it had when
// the job first used it, whatever the policy.
func (p *program) meaning(c *cli.Context, ref image.Reference, pull image.Pull) (image.Digest, error) {
	m := &meaning{program: p, cli: c, ref: ref, pull: pull}
	if ref.Digest == "" {
		m.job = image.JobOf(p.env)
	}
	var err error
	if m.wanted, err = platform(c); err != nil {
		return "", usageError{err}
	}
	var digest image.Digest
	if err := look(c, func(stores image.Stores) error {
		digest, err = m.find(stores)
		return err
	}); err != nil {
		return "", err
	}
	if m.job == "" {
		return digest, nil
	}
	err = change(c, func(s *storage.Store) error {
		pinned, err := s.Pin(m.job, image.Ref{Name: ref.String(), Digest: digest, Time: time.Now().UTC()})
		digest = pinned.Digest
		return err
	})
	return digest, err
}

// A meaning is one look for what a name means.
type meaning struct {
	*program
	cli    *cli.Context
	ref    image.Reference
	pull   image.Pull
	wanted image.Platform
	job    string // empty outside of jobs, and for a reference with a digest
}

func (m *meaning) find(stores image.Stores) (image.Digest, error) {
	before, pinned := m.before(stores)
	here := before.Digest != "" && m.here(stores, before.Digest)
	switch {
	case pinned && m.pull != image.PullAlways, here && (m.pull == image.PullNever || m.fixed() || m.remote() && m.pull == image.PullMissing):
		return before.Digest, nil
	case m.pull == image.PullNever:
		return "", fmt.Errorf("%s: %w", m.ref.String(), errNotHere)
	}
	now, err := m.ask()
	switch {
	case pinned && err != nil:
		say("cannot ask whether it has moved: " + err.Error())
		return before.Digest, nil
	case err != nil:
		return "", err
	}
	if before.Digest != "" && m.ref.Digest == "" {
		if line := (image.Ref{Name: before.Name, Digest: now, Time: time.Now()}).Moved(before); line != "" && pinned {
			note(line + "; this job keeps the latter")
		} else if line != "" {
			note(line)
		}
	}
	if pinned {
		return before.Digest, nil
	}
	return now, nil
}

// fixed reports whether the reference means one image for good: by its digest, or as a name that
// was given in the store.
func (m *meaning) fixed() bool { return m.ref.Digest != "" || m.ref.Kind == image.KindName }

// remote reports whether asking costs a request. A file or directory is looked at each time.
func (m *meaning) remote() bool {
	return m.ref.Kind == image.KindRegistry || m.ref.Kind == image.KindORAS
}

// before returns what the name means to the job, or to a store, and whether it is the job that
// knows it.
func (m *meaning) before(stores image.Stores) (ref image.Ref, pinned bool) {
	if m.job != "" {
		for _, s := range stores {
			if ref, err := s.Pinned(m.job, m.ref.String()); err == nil {
				return ref, true
			}
		}
	}
	if m.ref.Digest != "" {
		return image.Ref{Name: m.ref.String(), Digest: m.ref.Digest}, false
	}
	if m.wanted != image.HostPlatform().Normal() {
		return image.Ref{}, false // names mean images for this host
	}
	for _, name := range names(m.ref) {
		if ref, reasons, err := stores.Lookup(name); err == nil {
			warn(reasons)
			return ref, false
		}
	}
	return image.Ref{}, false
}

// here reports whether a store has the image.
func (m *meaning) here(stores image.Stores, digest image.Digest) bool {
	found, _, err := stores.Find(digest)
	if err != nil {
		return false
	}
	defer found.Close() //nolint:errcheck // only looked at
	return found.Platform.Normal() == m.wanted.Normal() || m.ref.Digest == found.Digest
}

// ask returns what the name means now, where its image comes from.
func (m *meaning) ask() (image.Digest, error) {
	r, err := m.fetchable(m.cli, m.ref)
	if err != nil {
		return "", err
	}
	src, err := m.open(m.cli, r, m.wanted)
	if err != nil {
		return "", err
	}
	return src.Digest, src.Close()
}
