package slurm

import "strings"

// Environment holds what a list of NAME=VALUE entries says about a Slurm task. If a name occurs
// twice the last entry counts, as for a shell.
type Environment map[string]string

// FromEnv picks the entries of env that Slurm sets (SLURM_*, SLURMD_*). Later lists override
// earlier ones. Entries without '=' are ignored.
func FromEnv(lists ...[]string) Environment {
	e := Environment{}
	for _, list := range lists {
		for _, entry := range list {
			name, value, ok := strings.Cut(entry, "=")
			if ok && strings.HasPrefix(name, "SLURM") {
				e[name] = value
			}
		}
	}
	return e
}

// InJob reports whether this is the environment of a Slurm job.
func (e Environment) InJob() bool { return e["SLURM_JOB_ID"] != "" }
