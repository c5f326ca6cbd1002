package slurm

import "strings"

// Environment is what a list of NAME=VALUE entries says about a Slurm task.
// When a name stands twice the last one counts, as for a shell.
type Environment map[string]string

// FromEnv picks the entries of env that Slurm sets (SLURM_*, SLURMD_*); later
// lists win over earlier ones. Entries without '=' are ignored.
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

// InJob tells whether the environment is that of a Slurm job.
func (e Environment) InJob() bool { return e["SLURM_JOB_ID"] != "" }
