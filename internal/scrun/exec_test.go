package scrun

import (
	"slices"
	"testing"
)

// firstNode returns the first name of Slurm's list of names.
func TestFirstNode(t *testing.T) {
	for list, want := range map[string]string{
		"": "", "n1": "n1", "n1,n2": "n1", "n[1-3,7],m5": "n1", "n[07,09]": "n07", "r[1-2]n[3-4]x": "r1n3x", "a.b-c,d": "a.b-c",
	} {
		if got := firstNode(list); got != want {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}

// For Slurm, a process that enters a container is a program of the host, and any other
// process is a container.
func TestSrunArgs(t *testing.T) {
	r := Record{Foreign: true, Job: "7", Launch: []string{"--overlap"}, Remote: "/b", Args: []string{"true", "--x"}}
	common := []string{"srun", "--verbose", "--export=NONE", "--error=/proc/self/fd/3", "--jobid=7", "--overlap"}
	if got, want := r.srunArgs(), slices.Concat(common, []string{"--container=/b", "--", "true", "--x"}); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	r.Enter = []string{"/bin/ocishim", "exec", "id"}
	if got, want := r.srunArgs(), slices.Concat(common, []string{"--chdir=/", "--", "/bin/ocishim", "exec", "id"}); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
