// Package image is what a launch has to know about images: their names, where they are stored,
// and what was recorded about them at import. It uses no network and unpacks nothing: the
// program ocishim-image does that, with the packages below this one.
package image

import "time"

// A Digest names content by its SHA-256, as sha256:HEX, in lower case.
type Digest string

// A Format is the form in which an image's root file system is stored.
type Format string

// The formats: a single compressed file for shared file systems, where it costs one inode; or
// a directory, for local disks.
const (
	Squashfs Format = "sqfs"
	Tree     Format = "tree"
)

// A Platform is what an image's programs run on, in the terms of GOOS and GOARCH.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"` // such as v8 of arm64
}

// A Config is what an image says about the processes that run in it: the part of an OCI
// image configuration that matters to a launch (image-spec, config.md).
type Config struct {
	User         string              `json:"User,omitempty"`
	Env          []string            `json:"Env,omitempty"` // NAME=value
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
}

// A Record is what the store knows about an image, kept as JSON beside it. Fields may be added
// but never change their meaning; Version says by which rules the image was unpacked.
type Record struct {
	Version int `json:"version"` // RecordVersion of the writer

	// Digest is the digest of the image's manifest for its platform. Reference is the name
	// that it was imported by, for people.
	Digest    Digest `json:"digest"`
	Reference string `json:"reference"`

	Platform Platform `json:"platform"`
	Config   Config   `json:"config"`

	Format Format `json:"format"`
	Size   int64  `json:"size"`             // bytes: of the file, or of all files of a tree
	Files  int64  `json:"files"`            // members: files, directories and links
	SHA256 Digest `json:"sha256,omitempty"` // of the file; empty for a tree

	// Members is the digest of the list of a tree's members, which lies beside the tree; empty
	// for a file.
	Members Digest `json:"members,omitempty"`

	// Private says that the import needed credentials: only users who have them may get the
	// image.
	Private bool `json:"private,omitempty"`

	// Lost counts the members that lost something in the import, by what they lost, such as
	// setuid bits or device nodes.
	Lost map[string]int64 `json:"lost,omitempty"`

	Created time.Time `json:"created"` // of the import
	Host    string    `json:"host"`    // the host that imported it
}

// RecordVersion is the Version of new records.
const RecordVersion = 1
