package config

import (
	"fmt"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// How the bundles of containers that become jobs reach the job's nodes.
const (
	StagingNone    = "none"
	StagingSbcast  = "sbcast"
	StagingCommand = "command"
)

// Scrun holds the settings for containers that become Slurm jobs.
type Scrun struct {
	Options  []string `json:"options"`
	Staging  string   `json:"staging"`
	Bundles  string   `json:"bundles"`
	NodeDir  string   `json:"node_dir"`
	StageIn  []string `json:"stage_in"`
	StageOut []string `json:"stage_out"`
	Enter    []string `json:"enter"`
	Shared   []string `json:"shared"`
}

func defaultScrun() Scrun {
	return Scrun{
		Options: []string{}, Staging: StagingNone, NodeDir: "/tmp", StageIn: []string{}, StageOut: []string{}, Enter: []string{}, Shared: []string{},
	}
}

func (s *Scrun) settings() []setting {
	return []setting{
		{
			key: "scrun.options", value: &s.Options, check: checkOption,
			doc: `Options of salloc and srun for every container that becomes a job, such
as "--partition=containers". Users' own options override them.`,
		},
		{
			key: "scrun.staging", value: &s.Staging, choices: []string{StagingNone, StagingSbcast, StagingCommand},
			doc: `How the bundles of such containers reach the job's nodes. ` + "`none`" + `: the
engine keeps them in a directory that is shared at the same path.
` + "`sbcast`" + `: as an archive, by Slurm's sbcast. ` + "`command`" + `: by scrun.stage_in.`,
		},
		{
			key: "scrun.bundles", value: &s.Bundles, check: checkPattern,
			doc: `Directory, shared with the job's nodes at the same path, for the
config.json of a container when staging is ` + "`none`" + `: for an engine whose
images are on a shared file system, but its bundles are not. %u is the
user's name, %U the uid. Without it, the engine's bundle is used.`,
		},
		{
			key: "scrun.node_dir", value: &s.NodeDir, check: checkPattern,
			doc: `Directory on each of the job's nodes in which sbcast puts bundles. Each
container has a subdirectory there until it ends. %u and %U as above.`,
		},
		{
			key: "scrun.stage_in", value: &s.StageIn,
			doc: `Program, with arguments, that copies a bundle to the job's nodes when
staging is ` + "`command`" + `. It runs on the engine's host, as the engine's user,
with the job allocated; docs/scrun.md lists its variables. The last line
that it prints is the bundle's path on the job's nodes.`,
		},
		{
			key: "scrun.stage_out", value: &s.StageOut,
			doc: `Program, with arguments, that runs when such a container has ended, with
the job still allocated: to fetch results, and to remove what stage_in
copied.`,
		},
		{
			key: "scrun.enter", value: &s.Enter,
			doc: `How to call ocishim on the job's nodes, if one of the files of oci.conf.d
makes it their runtime: the program and its options before the verb, such
as ["/usr/local/bin/ocishim"]. A process of exec then joins the container
itself. Without it, and with any other runtime, the process runs beside
the container, with the same root and mounts.`,
		},
		{
			key: "scrun.shared", value: &s.Shared, check: checkPath,
			doc: `Directories that are shared with the job's nodes at the same path. A
volume (-v) elsewhere is refused. Without any, every volume counts as
shared, and the container fails if a compute node lacks one.`,
		},
	}
}

// checkOption requires --NAME or --NAME=VALUE; which names are allowed is checked where
// they are used.
func checkOption(option string) error {
	name, _, _ := strings.Cut(option, "=")
	if !strings.HasPrefix(name, "--") || len(name) < 3 || strings.Trim(name, "-abcdefghijklmnopqrstuvwxyz") != "" {
		return fmt.Errorf("expected an option such as --partition=batch, not %s", text.Quoted(option))
	}
	if !text.Fits(option) {
		return fmt.Errorf("expected printable characters, not %s", text.Quoted(option))
	}
	return nil
}

// checkPattern requires a path in which %u and %U stand for the user.
func checkPattern(path string) error {
	if path == "" {
		return nil
	}
	return checkPath(path)
}
