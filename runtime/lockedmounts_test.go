package runtime

import (
	"strings"
	"testing"
)

func TestOptionsInEffect(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]bool{"ro": true, "rw": false, "ro,rw": false, "rw,ro": true, "": false, "nosuid,ro,nodev": true} {
		if got := inEffect(strings.Split(options, ","), "ro"); got != want {
			t.Errorf("%s: %v", options, got)
		}
	}
	for option, want := range map[string]bool{"rw": true, "rrw": true, "ro": false, "relatime": true, "rdev": true, "dev": true, "rprivate": false, "rbind": false, "noatime": true} {
		if got := undoes(option); got != want {
			t.Errorf("%s undoes something: %v", option, got)
		}
	}
}
