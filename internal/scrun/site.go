package scrun

// The ways of bringing a bundle to the compute nodes.
const (
	StageNone    = "none"    // they see it where it is
	StageSbcast  = "sbcast"  // Slurm copies it as an archive
	StageCommand = "command" // a program of the site's brings it
)

// A Site is the site's configuration of containers that become jobs.
type Site struct {
	Options []string // for every job, such as --partition=containers

	Staging string // StageNone, StageSbcast or StageCommand

	// Bundles is a directory that the compute nodes see, for their config.json. If empty, that
	// is in the engine's bundle. Patterns are replaced.
	Bundles string

	// NodeDir is the directory on each compute node to which sbcast copies bundles.
	NodeDir string

	// StageIn and StageOut are commands with their arguments. Patterns in them are replaced.
	StageIn, StageOut []string

	// Enter is the command that calls ocishim on the compute nodes for exec into a container.
	// Without it exec runs a process beside the container.
	Enter []string

	// Shared are the directories that the compute nodes see at the same path; empty for all.
	Shared []string
}
