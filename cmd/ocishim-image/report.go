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
	"github.com/ocishim/ocishim/internal/image/policy"
	"github.com/ocishim/ocishim/internal/image/registry"
	"github.com/ocishim/ocishim/internal/image/rootfs"
	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/image/storage"
)

// A usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// An advice says what to do about an error.
type advice struct {
	is   error
	hint string
}

// hints are the advice for errors, the first that fits. docs/troubleshooting.md lists them.
func hints() []advice {
	return []advice{
		{errNoStore, "name one with --store DIR, or set HOME"},
		{errNoLocal, "name one: `ocishim-image stage IMAGE DIR`, or image.local in /etc/ocishim"},
		{errNoTerminal, "give the password on standard input: --username USER --password-stdin"},
		{errNotFetched, "start a bundle, an environment (EDF) or a named container with ocishim: they are not images"},
		{registry.ErrDenied, "log in with `ocishim-image login REGISTRY`; registries also give this answer for images that do not exist"},
		{policy.ErrSignature, "have the image verified by another program, such as skopeo copy to an OCI layout, or have the policy changed"},
		{policy.ErrRejected, "ask who wrote the policy"},
		{registry.ErrNotFound, "check the tag and the spelling of the repository"},
		{registry.ErrAmbiguous, "write the registry, as in REGISTRY/NAME:TAG"},
		{registry.ErrDigest, "the data received is not the image: try again, and report it to the operator of the registry, mirror or proxy"},
		{image.ErrUntrusted, "only you and root may be able to write to a store and to every directory above it: chmod go-w"},
		{image.ErrNotFound, "`ocishim-image ls` lists what is there; `ocishim-image pull IMAGE` imports it"},
		{image.ErrNoImage, "give a squashfs or SIF file, an archive of docker save or skopeo, an OCI layout, or the directory of a root file system"},
		{storage.ErrPrivate, "use a store that only you can read (chmod 700), or --share if everyone who can read this store may have the image"},
		{storage.ErrUsed, "wait for the job to end, or cancel it"},
		{storage.ErrDamaged, "remove the image with `ocishim-image rm`, and import it again"},
		{source.ErrPlatform, "--platform OS/ARCH imports an image for other hosts"},
		{source.ErrAmbiguous, "name the image in the file behind a colon: oci:DIR:TAG, docker-archive:FILE:NAME"},
		{source.ErrEngine, "on a host where the engine runs: docker save -o FILE IMAGE; then import FILE"},
		{rootfs.ErrNoSquashfs, "or import with --format tree"},
		{layers.ErrTooMuch, "if the image is not damaged or hostile, build it with fewer or smaller files"},
		{archive.ErrName, "rename the file: in layers, names that begin with .wh. remove other files"},
		{credentials.ErrNotLoggedIn, "for passwords kept by docker login or podman login, use docker logout or podman logout"},
		{export.ErrExists, "remove it, or choose another name"},
		{unix.ENOSPC, "free space with `ocishim-image gc --max-size SIZE`, or use another --store"},
		{unix.EDQUOT, "free space with `ocishim-image gc --max-size SIZE`, or use another --store"},
	}
}

// hint returns what the user can do about an error, or "".
func hint(err error) string {
	var wrong *image.ReferenceError
	if errors.As(err, &wrong) && wrong.Hint != "" {
		return wrong.Hint
	}
	for _, h := range hints() {
		if errors.Is(err, h.is) {
			return h.hint
		}
	}
	var usage usageError
	var unknown x509.UnknownAuthorityError
	var lookup *net.DNSError
	switch {
	case errors.As(err, &usage):
		return "`ocishim-image --help` and `ocishim-image VERB --help` list verbs and options"
	case errors.As(err, &unknown):
		return "put the registry's certificate authority into /etc/containers/certs.d/REGISTRY/ca.crt"
	case errors.As(err, &lookup):
		return "check the registry's name, and that this host has a network; HTTPS_PROXY names a proxy"
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, os.ErrDeadlineExceeded):
		return "check the registry's address, and that the registry is running"
	}
	return ""
}
