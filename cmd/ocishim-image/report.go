package main

import (
	"crypto/x509"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/archive"
	"github.com/ocishim/ocishim/internal/image/credentials"
	"github.com/ocishim/ocishim/internal/image/export"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/registry"
	"github.com/ocishim/ocishim/internal/image/rootfs"
	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/image/storage"
)

// A usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// hint says what to do about an error, where we know.
func hint(err error) string {
	var wrong *image.ReferenceError
	if errors.As(err, &wrong) && wrong.Hint != "" {
		return wrong.Hint
	}
	hints := []struct {
		is   error
		hint string
	}{
		{errNoStore, "name one with --store DIR, or set HOME"},
		{errNoTerminal, "give the password on standard input: --username USER --password-stdin"},
		{errNotFetched, "a bundle is started as it is, and an environment (EDF) or a container by its name: by ocishim, not here"},
		{registry.ErrDenied, "`ocishim-image login REGISTRY` keeps a password; registries also say this of images that they do not have"},
		{registry.ErrNotFound, "look at the tag, and at the spelling of the repository"},
		{registry.ErrDigest, "the data received is not the image: try again, and report it to the operator of the registry, mirror or proxy"},
		{image.ErrUntrusted, "nobody but you and root may be able to write to a store, or to what leads to it: chmod go-w"},
		{image.ErrNotFound, "`ocishim-image ls` lists what is there; `ocishim-image pull IMAGE` imports it"},
		{image.ErrNoImage, "an image is a squashfs or SIF file, an archive of docker save or skopeo, an OCI layout, or a root file system"},
		{storage.ErrPrivate, "use a store of your own (chmod 700), or --share if everybody who can read this one may have the image"},
		{storage.ErrUsed, "wait for the job, or cancel it"},
		{storage.ErrDamaged, "remove the image with `ocishim-image rm`, and import it again"},
		{source.ErrPlatform, "--platform OS/ARCH imports an image for other hosts"},
		{source.ErrAmbiguous, "name the image in the file behind a colon: oci:DIR:TAG, docker-archive:FILE:NAME"},
		{source.ErrEngine, "where the engine runs: docker save -o FILE IMAGE, and then import FILE"},
		{rootfs.ErrNoSquashfs, "or import with --format tree"},
		{layers.ErrTooMuch, "if the image is what it should be, build it with fewer or smaller files"},
		{archive.ErrName, "names that begin with .wh. remove files in layers: rename the file"},
		{credentials.ErrNotLoggedIn, "passwords of docker login and podman login are forgotten by these"},
		{export.ErrExists, "remove it, or choose another name"},
		{unix.ENOSPC, "make room with `ocishim-image gc --max-size SIZE`, or use another --store"},
		{unix.EDQUOT, "make room with `ocishim-image gc --max-size SIZE`, or use another --store"},
	}
	for _, h := range hints {
		if errors.Is(err, h.is) {
			return h.hint
		}
	}
	var usage usageError
	var unknown x509.UnknownAuthorityError
	var lookup *net.DNSError
	switch {
	case errors.As(err, &usage):
		return "`ocishim-image --help` and `ocishim-image VERB --help` list what is known"
	case errors.As(err, &unknown):
		return "put the registry's certificate authority into /etc/containers/certs.d/REGISTRY/ca.crt"
	case errors.As(err, &lookup):
		return "check the registry's name, and that this host has a network; HTTPS_PROXY names a proxy"
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, os.ErrDeadlineExceeded):
		return "check the registry's address, and that the registry is running"
	}
	return ""
}
