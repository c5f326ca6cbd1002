package request

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCheckAnnotations(t *testing.T) {
	for name, want := range map[string]string{
		"org.ocishim.profile":         "",
		"org.ocishim.mpi":             "",
		"org.ocishim.gpu.cdi.devices": "",
		"org.ocishim.gpu.driver":      "", // not for users, which another package reports
		"org.ocishim.slurm.anything":  "",
		"org.ocishim.output":          "",
		"org.ocishim.failure":         "",
		"org.ocishimprofil":           "",
		"org.systemd.property.x":      "",
		"org.ocishim.":                "unknown annotation org.ocishim.",
		"org.ocishim.Profile":         "unknown annotation org.ocishim.Profile: did you mean org.ocishim.profile?",
		"org.ocishim.isolate":         "unknown annotation org.ocishim.isolate: did you mean org.ocishim.gpu.isolate?",
		"org.ocishim.hpc.home":        "unknown annotation org.ocishim.hpc.home: did you mean org.ocishim.home?",
		"org.ocishim.a\nb":            `unknown annotation "org.ocishim.a\nb"`,
	} {
		err := CheckAnnotations(map[string]string{name: "x", "other": "y"})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || errors.Is(err, ErrUnknownName) != (want != "") {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

// Variables that we set ourselves, or that scrun reads, are known.
func TestUnknownVariables(t *testing.T) {
	got := UnknownVariables([]string{
		"PATH=/bin", "OCISHIM_MPI=own", "OCISHIM_EXPLAIN=1", "OCISHIM_PROFILE=oci", "OCISHIM_GPU_ODER=x", "XOCISHIM_A=b",
		"OCISHIM_PROFIL=oci", "OCISHIM_SOMETHING_ELSE=1", "OCISHIM_=",
	})
	want := []string{"unknown variable OCISHIM_PROFIL: did you mean OCISHIM_PROFILE?", "unknown variable OCISHIM_SOMETHING_ELSE", "unknown variable OCISHIM_"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
