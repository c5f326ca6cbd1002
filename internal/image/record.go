// Package image is what a launch has to know of images: how they are named, where they
// lie, and what was found out about them when they were imported. It uses no network and
// unpacks nothing: that is the work of the program ocishim-image, whose packages lie
// below this one.
package image

import "time"

// A Digest names content by its SHA-256, as sha256:HEX, in lower case.
type Digest string

// A Format is how an image's root file system is kept.
type Format string

// The formats: one compressed file, of one inode, for shared file systems; or a directory,
// for local disks.
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

// A Config is what an image says of the processes that run in it: the part of an OCI
// image configuration that a launch follows (image-spec, config.md).
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

// A Record is what the store knows of an image, as JSON beside it. Fields are added and
// never change their meaning; Version says by which rules the image was unpacked.
type Record struct {
	Version int `json:"version"` // RecordVersion of the writer

	// Digest is of the image's manifest for its platform. Reference is by which name it
	// was imported, for people.
	Digest    Digest `json:"digest"`
	Reference string `json:"reference"`

	Platform Platform `json:"platform"`
	Config   Config   `json:"config"`

	Format Format `json:"format"`
	Size   int64  `json:"size"`             // bytes: of the file, or of all files of a tree
	Files  int64  `json:"files"`            // members: files, directories and links
	SHA256 Digest `json:"sha256,omitempty"` // of the file; empty for a tree

	// Members is of the list of a tree's members, which lies beside it; empty for a file.
	Members Digest `json:"members,omitempty"`

	// Private says that credentials were needed: the image is for whoever has them.
	Private bool `json:"private,omitempty"`

	// Lost says what could not be kept, such as setuid bits and device nodes, by how many
	// members had it.
	Lost map[string]int64 `json:"lost,omitempty"`

	Created time.Time `json:"created"` // of the import
	Host    string    `json:"host"`    // that imported it
}

// RecordVersion is the Version of records that are written today.
const RecordVersion = 1
