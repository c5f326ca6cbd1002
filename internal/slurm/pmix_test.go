package slurm

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// The paths are those of Slurm 24.11 for task 0 of step 7.0 on node n1.
const (
	stepSpool = "/var/spool/slurmd/n1/oci-job7-0"
	stepPMIx  = "PMIX_SERVER_TMPDIR=" + stepSpool + "//pmix.7.0/"
)

func TestPMIx(t *testing.T) {
	atItsPath := func(dir string) []specs.Mount { return []specs.Mount{{Source: dir, Destination: dir, Type: "bind"}} }
	for name, tc := range map[string]struct {
		env     []string
		mounts  []specs.Mount
		missing bool
		want    string
	}{
		"beside the bundle: all of the step's spool": {env: []string{stepPMIx}, want: stepSpool},
		"elsewhere: that directory alone":            {env: []string{"PMIX_SERVER_TMPDIR=/run/pmix/7.0/"}, want: "/run/pmix/7.0"},
		"the last value counts":                      {env: []string{"PMIX_SERVER_TMPDIR=/image", stepPMIx}, want: stepSpool},
		"Slurm has mounted it elsewhere": {
			env: []string{stepPMIx}, want: stepSpool,
			mounts: []specs.Mount{{Source: stepSpool + "/task-0", Destination: "/var/run/slurm", Type: "none"}},
		},
		"Slurm has mounted it at its path": {env: []string{stepPMIx}, mounts: atItsPath(stepSpool)},
		"the bundle mounts its parent":     {env: []string{stepPMIx}, mounts: atItsPath("/var/spool/slurmd")},
		"a name that only begins alike":    {env: []string{stepPMIx}, mounts: atItsPath("/var/spool/slurmd/n1/oci-job7"), want: stepSpool},
		"no PMIx":                          {env: []string{"PMI_FD=10"}},
		"empty":                            {env: []string{"PMIX_SERVER_TMPDIR="}},
		"not absolute":                     {env: []string{"PMIX_SERVER_TMPDIR=tmp"}},
		"the root":                         {env: []string{"PMIX_SERVER_TMPDIR=/../"}},
		"not on this node":                 {env: []string{stepPMIx}, missing: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bundle.Bundle{
				Dir:  stepSpool + "/task-0",
				Spec: &specs.Spec{Process: &specs.Process{Env: tc.env}, Mounts: tc.mounts},
			}
			var got []string
			for _, m := range PMIx(b, func(string) bool { return !tc.missing }).Mounts {
				if m.Source != m.Destination || !slices.Contains(m.Options, "bind") {
					t.Errorf("mount %+v: not a bind at the node's own path", m)
				}
				got = append(got, m.Source)
			}
			if tc.want == "" && got != nil || tc.want != "" && !slices.Equal(got, []string{tc.want}) {
				t.Errorf("mounts %q, want %q", got, tc.want)
			}
		})
	}
}
