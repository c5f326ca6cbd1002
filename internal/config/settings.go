package config

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/ocishim/ocishim/internal/text"
)

// A setting is a key: what it means, what it may be, and where its value is.
// From this table files are read, the configuration is printed, and
// `ocishim config --help` and docs/config.md are written.
type setting struct {
	key string // with the tables it is in, such as hpc.home

	// value is a *bool, *string, *[]string, *[]Mount or *[]MPI.
	value any

	// choices are what a string, or each of a list, may be; any when empty.
	choices []string

	// check, where there is one, says what is wrong with a string.
	check func(string) error

	// users says that a site can let users decide it, by users.may.
	users bool

	// doc is Markdown in short lines, without a blank line.
	doc string
}

// etcNames are the files of /etc that can be taken from the node.
var etcNames = []string{"passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"}

func (c *Config) settings() []setting {
	return slices.Concat(c.ownSettings(), c.GPU.settings(), c.Users.settings(), c.Image.settings(), c.Scrun.settings(), c.mpiSettings())
}

func (c *Config) ownSettings() []setting {
	return []setting{
		{
			key: "profile", value: &c.Profile, choices: []string{ProfileHPC, ProfileOCI},
			doc: `What a container of a Slurm step shares with its node, unless the bundle
or the command line says otherwise. ` + "`hpc`" + ` is integration: the node's
processes, network, devices and shared memory, the user's own uid. ` + "`oci`" + ` is
isolation: the namespaces and mounts of the bundle's config.json.`,
		},
		{
			key: "hpc.home", value: &c.HPC.Home,
			doc: `Whether the user's home directory is in the container, at its path.`,
		},
		{
			key: "hpc.workdir", value: &c.HPC.Workdir,
			doc: `Whether the job's working directory is in the container, at its path.
It is where the application starts then.`,
		},
		{
			key: "hpc.tmp", value: &c.HPC.Tmp,
			doc: `Whether /tmp is that of the node. MPI libraries keep files there that
all tasks of a step must see.`,
		},
		{
			key: "hpc.etc", value: &c.HPC.Etc, choices: etcNames,
			doc: `Files of the node's /etc that take the place of the image's. Those
that the node lacks are left out.`,
		},
		{
			key: "hpc.edits", value: &c.HPC.Edits, choices: []string{EditTorch, EditSlurm, EditMunge},
			doc: `What else the tasks of a step get. ` + "`torch`" + `: MASTER_ADDR, MASTER_PORT,
WORLD_SIZE, RANK and LOCAL_RANK, as torch.distributed reads them, where
they are absent. ` + "`slurm`" + `: srun, squeue, scontrol and the like of the node,
with their plugins, configuration and munge's socket; a warning says
why where the image does not fit them. ` + "`munge`" + `: that socket alone, for
what the image has of munge itself.`,
		},
		{
			key: "hpc.mounts", value: &c.HPC.Mounts,
			doc: `Further files and directories of the node. A file that sets this key
replaces the list of those before it.`,
		},
	}
}

func (u *Users) settings() []setting {
	return []setting{
		{
			key: "users.may", value: &u.May, choices: append([]string{MayProfile}, userKeys()...),
			doc: `What users may decide otherwise. ` + "`profile`" + `: by the annotation
org.ocishim.profile in config.json, by the variable OCISHIM_PROFILE of the
job or the image, and by --profile. The other keys: by
an annotation such as org.ocishim.gpu.isolate, or by a variable such as
OCISHIM_GPU_ISOLATE of the job or the image; lists have commas.
` + "`gpu.cdi.devices`" + `: by --device and by annotations cdi.k8s.io/*, too. What
is not in the list is an error when a user asks for it.`,
		},
	}
}

func (c *Config) mpiSettings() []setting {
	return []setting{
		{
			key: "mpi", value: &c.MPI,
			doc: `Profiles of the site's MPIs, each a table [mpi.NAME]: how one takes the
place of an image's. Without any, every program runs with the MPI of
its image. Keys that a later file sets in a profile replace those of
the files before it.`,
		},
	}
}

func (m *Mount) settings() []setting {
	return []setting{
		{
			key: "source", value: &m.Source, check: checkPath,
			doc: `Absolute path on the node. It must be set.`,
		},
		{
			key: "destination", value: &m.Destination, check: checkDestination,
			doc: `Absolute path in the container; the source's when it is not set.`,
		},
		{
			key: "options", value: &m.Options,
			choices: []string{"ro", "nosuid", "nodev", "noexec", BindOnly},
			doc: `Mount options. ` + "`bind`" + ` leaves out what is mounted below the source:
there is an empty directory in its place. Without it, that is in the
container, too, under the same options.`,
		},
		{
			key: "optional", value: &m.Optional,
			doc: `Whether a node without the source is fine. Otherwise the container
does not start there.`,
		},
	}
}

// finish sets what follows from the rest of the table, and checks it as a
// whole, and with those that are in the list already.
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
			return fmt.Errorf("%s is a destination already, of table %d of the list", text.Quoted(m.Destination), i)
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

// checkPath wants a path that means the same to whoever reads it, and that can
// be printed.
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
