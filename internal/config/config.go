// Package config reads the site's settings for all containers. It is strict: if a
// misspelt key were ignored, a decision of the site would have no effect.
package config

import (
	"slices"

	"github.com/ocishim/ocishim/internal/toml"
)

// The profiles: what a container shares with its host.
const (
	// ProfileHPC prefers integration to isolation, for Slurm steps.
	ProfileHPC = "hpc"

	// ProfileOCI uses the bundle's own namespaces and mounts.
	ProfileOCI = "oci"
)

// MayProfile in Users.May lets users choose the profile.
const MayProfile = "profile"

// askKeys in Users.May let users ask for what request.Keys lists, each key or kind of key by itself.
func askKeys() []string {
	return []string{"mounts", "env", "workdir", "home", "entrypoint", "remap_root", "unshare", "writable"}
}

// MayDevices in Users.May lets users request CDI devices by name.
const MayDevices = "gpu.cdi.devices"

// BindOnly among a mount's options leaves out what is mounted below its source.
const BindOnly = "bind"

// Config is the effective configuration. The meaning of each value is documented only
// in settings.
type Config struct {
	Profile string `json:"profile"`
	HPC     HPC    `json:"hpc"`
	GPU     GPU    `json:"gpu"`
	Users   Users  `json:"users"`
	MPI     []MPI  `json:"mpi"` // in the order in which they are tried
	Image   Image  `json:"image"`
	Scrun   Scrun  `json:"scrun"`

	// Files are the files that were read, in order.
	Files []string `json:"-"`

	origins map[string]Origin
}

// HPC is what the hpc profile shares with the host.
type HPC struct {
	Home    bool     `json:"home"`
	Workdir bool     `json:"workdir"`
	Tmp     bool     `json:"tmp"`
	Etc     []string `json:"etc"` // names in /etc
	Mounts  []Mount  `json:"mounts"`
	Edits   []string `json:"edits"`
	Hooks   []string `json:"hooks"`
}

// Values of HPC.Edits.
const (
	EditTorch = "torch"
	EditSlurm = "slurm"
	EditMunge = "munge"
)

// Mount is a file or directory of the host that is mounted in containers.
type Mount struct {
	Source      string   `json:"source"`      // absolute and clean
	Destination string   `json:"destination"` // absolute and clean, never the root
	Options     []string `json:"options"`
	Optional    bool     `json:"optional"`
}

// Users is what users may change.
type Users struct {
	May []string `json:"may"`
}

// Default returns the configuration of a site without files.
func Default() *Config {
	return &Config{
		Profile: ProfileHPC,
		HPC: HPC{
			Home:    true,
			Workdir: true,
			Tmp:     true,
			Etc:     slices.Clone(etcNames),
			Mounts:  []Mount{},
			Edits:   []string{},
			Hooks:   []string{},
		},
		GPU:   defaultGPU(),
		Users: Users{May: append([]string{MayProfile, "gpu.capabilities", "gpu.features", "gpu.isolate", MayDevices}, askKeys()...)},
		MPI:   []MPI{},
		Image: defaultImage(),
		Scrun: defaultScrun(),
	}
}

// Origin returns where the value of the key comes from. Keys are written as hpc.home;
// hpc.mounts[1] is the second table of that list.
func (c *Config) Origin(key string) Origin { return c.origins[key] }

// Origins returns the origin of every key that a file sets.
func (c *Config) Origins() map[string]Origin { return c.origins }

// An Origin is a place in a file, or the means by which a user set the value. The zero
// Origin is the default.
type Origin struct {
	File string `json:"file"`
	Line int    `json:"line"` // counted from 1; 0 if it is not a file
}

// String returns FILE:LINE, or "default".
func (o Origin) String() string {
	switch {
	case o.File == "":
		return "default"
	case o.Line == 0:
		return o.File
	}
	return toml.Position(o.File, o.Line, 0)
}
