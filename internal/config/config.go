// Package config reads what the site decides for every container: strictly,
// since a key that is misspelt and ignored is a decision that is not carried out.
package config

import (
	"slices"

	"github.com/ocishim/ocishim/internal/toml"
)

// The profiles: what a container shares with its node.
const (
	// ProfileHPC is integration over isolation, for Slurm steps.
	ProfileHPC = "hpc"

	// ProfileOCI is the bundle's own namespaces and mounts.
	ProfileOCI = "oci"
)

// MayProfile in Users.May lets users choose the profile.
const MayProfile = "profile"

// MayDevices in Users.May lets users ask for CDI devices by their names.
const MayDevices = "gpu.cdi.devices"

// BindOnly among the options of a mount leaves out what is mounted below its
// source.
const BindOnly = "bind"

// Config is the effective configuration. What each value means is said once,
// in settings.
type Config struct {
	Profile string `json:"profile"`
	HPC     HPC    `json:"hpc"`
	GPU     GPU    `json:"gpu"`
	Users   Users  `json:"users"`
	MPI     []MPI  `json:"mpi"` // in the order in which they are tried
	Scrun   Scrun  `json:"scrun"`

	// Files are the files that were read, in order.
	Files []string `json:"-"`

	origins map[string]Origin
}

// HPC is what the hpc profile takes from the node.
type HPC struct {
	Home    bool     `json:"home"`
	Workdir bool     `json:"workdir"`
	Tmp     bool     `json:"tmp"`
	Etc     []string `json:"etc"` // names in /etc
	Mounts  []Mount  `json:"mounts"`
	Edits   []string `json:"edits"`
}

// What HPC.Edits may name.
const (
	EditTorch = "torch"
	EditSlurm = "slurm"
	EditMunge = "munge"
)

// Mount is a file or directory of the node that is bound into containers.
type Mount struct {
	Source      string   `json:"source"`      // absolute and clean
	Destination string   `json:"destination"` // absolute and clean, never the root
	Options     []string `json:"options"`
	Optional    bool     `json:"optional"`
}

// Users is what users may decide otherwise.
type Users struct {
	May []string `json:"may"`
}

// Default is the configuration of a site that has no file.
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
		},
		GPU:   defaultGPU(),
		Users: Users{May: []string{MayProfile, "gpu.capabilities", "gpu.features", "gpu.isolate", MayDevices}},
		MPI:   []MPI{},
		Scrun: defaultScrun(),
	}
}

// Origin tells where the value of the key comes from. Keys are written as
// hpc.home; hpc.mounts[1] is the second table of that list.
func (c *Config) Origin(key string) Origin { return c.origins[key] }

// Origins holds the origin of every key that a file sets.
func (c *Config) Origins() map[string]Origin { return c.origins }

// An Origin is a place in a file, or in place of the file what a user decides
// by. The zero Origin stands for the default.
type Origin struct {
	File string `json:"file"`
	Line int    `json:"line"` // counted from 1; 0 for what is no file
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
