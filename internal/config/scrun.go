package config

import (
	"fmt"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// The ways in which bundles of containers that become jobs reach the nodes.
const (
	StagingNone    = "none"
	StagingSbcast  = "sbcast"
	StagingCommand = "command"
)

// Scrun is what holds for containers that are made Slurm jobs.
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
			doc: `Options of salloc and srun for every container that is made a job, such
as "--partition=containers". Users' own come after them and win.`,
		},
		{
			key: "scrun.staging", value: &s.Staging, choices: []string{StagingNone, StagingSbcast, StagingCommand},
			doc: `How the bundles of such containers reach the nodes. ` + "`none`" + `: they see
them where the engine keeps them, at the same path. ` + "`sbcast`" + `: as an
archive, by Slurm's sbcast. ` + "`command`" + `: by scrun.stage_in.`,
		},
		{
			key: "scrun.bundles", value: &s.Bundles, check: checkPattern,
			doc: `Directory, seen by the nodes at the same path, for the config.json that
they get when staging is ` + "`none`" + `: where the engine's bundles are not on a
shared file system, but its images are. %u is the user's name, %U the
uid. Without it, the engine's bundle is used.`,
		},
		{
			key: "scrun.node_dir", value: &s.NodeDir, check: checkPattern,
			doc: `Directory of each node in which sbcast leaves what it brings, below a
directory of the container's own, until the end. %u and %U as above.`,
		},
		{
			key: "scrun.stage_in", value: &s.StageIn,
			doc: `Program, with arguments, that brings a bundle to the nodes when staging
is ` + "`command`" + `. It is run where the engine is, as the engine's user, with
the job allocated; docs/scrun.md says what it is told. The last line
that it prints is the bundle's path on the nodes.`,
		},
		{
			key: "scrun.stage_out", value: &s.StageOut,
			doc: `Program, with arguments, that is run when such a container has ended,
with the job still allocated: to fetch and to remove what stage_in left.`,
		},
		{
			key: "scrun.enter", value: &s.Enter,
			doc: `How ocishim is called on the nodes, where it is their runtime by one of
the files of oci.conf.d: the program and its options before the verb, such
as ["/usr/local/bin/ocishim"]. A process of exec then joins the container
itself. Without it, and with any other runtime, the process is beside the
container, with the same root and mounts.`,
		},
		{
			key: "scrun.shared", value: &s.Shared, check: checkPath,
			doc: `Directories that the nodes see at the same path. A volume (-v) that
lies elsewhere is refused. Without any, every volume is taken to be
shared, and the node says when it lacks one.`,
		},
	}
}

// checkOption wants --NAME or --NAME=VALUE; which names there are is checked
// where they are used.
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

// checkPattern wants a path in which %u and %U stand for the user.
func checkPattern(path string) error {
	if path == "" {
		return nil
	}
	return checkPath(path)
}
