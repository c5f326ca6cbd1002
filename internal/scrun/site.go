package scrun

// The ways of bringing a bundle to the nodes.
const (
	StageNone    = "none"    // they see it where it is
	StageSbcast  = "sbcast"  // as an archive, by Slurm
	StageCommand = "command" // by a program of the site's
)

// A Site is what the site has decided for containers that become jobs.
type Site struct {
	Options []string // for every job, as --partition=containers

	Staging string // StageNone, StageSbcast or StageCommand

	// Bundles is a directory that the nodes see, for the config.json that they
	// get; empty for the engine's bundle. Patterns are replaced.
	Bundles string

	// NodeDir is the directory on each node in which sbcast leaves bundles.
	NodeDir string

	// StageIn and StageOut are commands with their arguments; patterns in those
	// are replaced.
	StageIn, StageOut []string

	// Enter is how ocishim is called on the nodes for exec into a container; none for
	// a process beside it.
	Enter []string

	// Shared are the directories that the nodes see at the same path; none means all.
	Shared []string
}
