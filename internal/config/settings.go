package config

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/ocishim/ocishim/internal/text"
)

// A setting is a key: its meaning, its allowed values, and where its value is stored.
// This table is used to read files and to print the configuration, and `ocishim config
// --help` and docs/config.md are generated from it.
type setting struct {
	key string // including its tables, such as hpc.home

	// value is a *bool, *string, *[]string, *[]Mount or *[]MPI.
	value any

	// choices are the allowed values of a string, or of each item of a list; empty for
	// any.
	choices []string

	// check, if set, returns what is wrong with a string.
	check func(string) error

	// users means that a site can let users set it, by users.may.
	users bool

	// doc is Markdown in short lines, without a blank line.
	doc string
}

// etcNames are the files of /etc that can be taken from the host.
var etcNames = []string{"passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"}

func (c *Config) settings() []setting {
	return slices.Concat(c.ownSettings(), c.GPU.settings(), c.Users.settings(), c.Image.settings(), c.Scrun.settings(), c.mpiSettings())
}

func (c *Config) ownSettings() []setting {
	return []setting{
		{
			key: "profile", value: &c.Profile, choices: []string{ProfileHPC, ProfileOCI},
			doc: `What a container of a Slurm step shares with its host, unless the bundle
or the command line says otherwise. ` + "`hpc`" + ` is integration: the host's
processes, network, devices and shared memory, and the user's own uid.
` + "`oci`" + ` is isolation: the namespaces and mounts of the bundle's config.json.`,
		},
		{
			key: "hpc.home", value: &c.HPC.Home,
			doc: `Whether the user's home directory is in the container, at its path.`,
		},
		{
			key: "hpc.workdir", value: &c.HPC.Workdir,
			doc: `Whether the job's working directory is in the container, at its path.
The application then starts there.`,
		},
		{
			key: "hpc.tmp", value: &c.HPC.Tmp,
			doc: `Whether the container has the host's /tmp. MPI libraries keep files there
that all tasks of a step must see.`,
		},
		{
			key: "hpc.etc", value: &c.HPC.Etc, choices: etcNames,
			doc: `Files of the host's /etc that replace the image's. Files that the host
lacks are left out.`,
		},
		{
			key: "hpc.edits", value: &c.HPC.Edits, choices: []string{EditTorch, EditSlurm, EditMunge},
			doc: `What else the tasks of a step get. ` + "`torch`" + `: MASTER_ADDR, MASTER_PORT,
WORLD_SIZE, RANK and LOCAL_RANK for torch.distributed, unless they are
set. ` + "`slurm`" + `: the host's srun, squeue, scontrol and other commands, with
their plugins, configuration and munge's socket; if the image does not
fit them, a warning says why. ` + "`munge`" + `: only that socket, for a munge
library in the image.`,
		},
		{
			key: "hpc.hooks", value: &c.HPC.Hooks,
			doc: `Hooks of CSCS's container engine whose effect this site gives to every
container by other means, such as ` + "`hpc.mounts`" + ` or CDI: cxi, aws_ofi_nccl,
netstack, nvidia_cuda_mps, dcgm, ssh. An environment that enables
com.hooks.NAME is refused where nothing gives it: without its fabric a
job would run, at a fraction of the speed.`,
		},
		{
			key: "hpc.mounts", value: &c.HPC.Mounts,
			doc: `Further files and directories of the host. A file that sets this key
replaces the list of earlier files.`,
		},
	}
}

func (u *Users) settings() []setting {
	return []setting{
		{
			key: "users.may", value: &u.May, choices: slices.Concat([]string{MayProfile}, userKeys(), askKeys()),
			doc: `Which settings users may change. ` + "`profile`" + `: by the annotation
org.ocishim.profile in config.json, by the variable OCISHIM_PROFILE of the
job or the image, and by --profile. The other keys: by an annotation such
as org.ocishim.gpu.isolate, or by a variable such as OCISHIM_GPU_ISOLATE of
the job or the image; lists have commas. ` + "`gpu.cdi.devices`" + `: also by
--device, org.ocishim.devices and annotations cdi.k8s.io/*; with it, users
also name device nodes. ` + "`mounts`, `env`, `workdir`, `home`, `entrypoint`," + `
` + "`remap_root`, `unshare` and `writable`" + `: what users ask for with an image
(docs/images.md). If a user tries to change anything else, that is an error.`,
		},
	}
}

func (c *Config) mpiSettings() []setting {
	return []setting{
		{
			key: "mpi", value: &c.MPI,
			doc: `Profiles of the site's MPIs, each a table [mpi.NAME] that describes how
the MPI replaces an image's. Without any, every program runs with the MPI
of its image. Keys of a profile in a later file override those in earlier
files.`,
		},
	}
}

func (m *Mount) settings() []setting {
	return []setting{
		{
			key: "source", value: &m.Source, check: checkPath,
			doc: `Absolute path on the host. It must be set.`,
		},
		{
			key: "destination", value: &m.Destination, check: checkDestination,
			doc: `Absolute path in the container; by default the same as the source.`,
		},
		{
			key: "options", value: &m.Options,
			choices: []string{"ro", "nosuid", "nodev", "noexec", BindOnly},
			doc: `Mount options. ` + "`bind`" + ` leaves out what is mounted below the source: empty
directories take its place. Without it, these mounts are also in the
container, with the same options.`,
		},
		{
			key: "optional", value: &m.Optional,
			doc: `Whether the source may be missing. Otherwise the container does not start
on a host without it.`,
		},
	}
}

// finish sets the defaults that depend on other fields, and checks the table as a whole
// and against earlier ones in the list.
func (m *Mount) finish(before []Mount) error {
	if m.Source == "" {
		return errors.New("source is missing")
	}
	if m.Destination == "" {
		m.Destination = m.Source
	}
	if err := checkDestination(m.Destination); err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	for i := range before {
		if before[i].Destination == m.Destination {
			return fmt.Errorf("%s is already the destination of table %d of the list", text.Quoted(m.Destination), i)
		}
	}
	return nil
}

func checkDestination(p string) error {
	if p == "/" {
		return errors.New("expected a path below /, which is the image's")
	}
	return checkPath(p)
}

// checkPath requires a path in its shortest form, so that it means the same to every
// reader, and that can be printed.
func checkPath(p string) error {
	if !path.IsAbs(p) {
		return fmt.Errorf("expected an absolute path, not %s", text.Quoted(p))
	}
	if !text.Fits(p) {
		return fmt.Errorf("expected a path of printable characters, not %s", text.Quoted(p))
	}
	if clean := path.Clean(p); clean != p {
		return fmt.Errorf("expected %s, not %s", text.Quoted(clean), text.Quoted(p))
	}
	return nil
}
