package config

// Image is what holds for images that are asked for by name.
type Image struct {
	Store      string   `json:"store"`
	Stores     []string `json:"stores"`
	Local      string   `json:"local"`
	Registries []string `json:"registries"`
	Bare       bool     `json:"bare"`
	Stubs      string   `json:"stubs"`
	Format     string   `json:"format"`
	Writable   string   `json:"writable"`
	Scratch    string   `json:"scratch"`

	Environments []string `json:"environments"`
}

func defaultImage() Image {
	return Image{
		Stores: []string{}, Registries: []string{}, Format: "auto", Environments: []string{"/etc/ocishim/edf"},
		Writable: "false", Scratch: "/tmp/ocishim-%U",
	}
}

func (i *Image) settings() []setting {
	return []setting{
		{
			key: "image.store", value: &i.Store, check: checkPattern,
			doc: `Directory of the store that a user's images are imported into. It must
belong to the user; hosts that share it import each image once. %u is the
user's name, %U the uid. Without it, ocishim/images in $XDG_DATA_HOME
or ~/.local/share.`,
		},
		{
			key: "image.stores", value: &i.Stores, check: checkPath,
			doc: `Stores of the site, which are searched first, in this order, and never
written to by users. They must belong to root, and so must every directory
above them.`,
		},
		{
			key: "image.local", value: &i.Local, check: checkPattern,
			doc: `Directory on each host's own disk for the store that ` + "`ocishim image stage`" + `
copies images to, such as /var/tmp/ocishim-%U. It is searched before all
others. It must belong to the user, and nobody else may write to it; it
is made with mode 0700. %u and %U as above.`,
		},
		{
			key: "image.registries", value: &i.Registries,
			doc: `Registries that are searched, in this order, for an image whose name has
none, such as alice/app:1. Without it, those of registries.conf(5), and
docker.io without these.`,
		},
		{
			key: "image.bare", value: &i.Bare,
			doc: `Let a single word, such as ubuntu, name an image of these registries.
Without it a typing error cannot fetch what somebody published under
that name.`,
		},
		{
			key: "image.format", value: &i.Format, choices: []string{"auto", "tree", "sqfs"},
			doc: `The form in which images are imported. A ` + "`tree`" + ` is a directory: its files
are as fast as any, and no process serves them. ` + "`sqfs`" + ` is one compressed
file, which is mounted by FUSE: a shared file system has one inode for
it, and reads only what is used. ` + "`auto`" + ` is a tree on a local file system,
otherwise sqfs.`,
		},
		{
			key: "image.environments", value: &i.Environments, check: checkPath,
			doc: `Directories with environment files of the site (docs/images.md), after
the user's own: those in $OCISHIM_EDF_PATH or $EDF_PATH, or ~/.edf.`,
		},
		{
			key: "image.writable", value: &i.Writable, choices: []string{"false", "tmpfs", "disk"},
			doc: `Whether images can be changed where a user says nothing of it, and where the
changes go, which end with the task: ` + "`tmpfs`" + ` is in memory, at most 12 % of
it for each task, and counts for the job's limit; ` + "`disk`" + ` is in
image.scratch. Containers whose launcher cannot do it stay read-only, and
images whose files belong to another user; a host that cannot do it is an
error.`,
		},
		{
			key: "image.scratch", value: &i.Scratch, check: checkPattern,
			doc: `Directory on each host's own disk for what containers change in images with
` + "`--writable=disk`" + `. It must belong to the user, and nobody else may write to
it; it is made with mode 0700. Its file system must be one that overlayfs
can write to, such as ext4 or xfs, and not NFS. %u and %U as above.`,
		},
		{
			key: "image.stubs", value: &i.Stubs, check: checkPattern,
			doc: `Directory, seen by submit and compute hosts at the same path, for the
bundles that stand for images named by srun --container. %u and %U as
above. Without it, ocishim/stubs beside the user's store.`,
		},
	}
}
