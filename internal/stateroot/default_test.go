package stateroot

import (
	"strings"
	"testing"
)

func TestDefaults(t *testing.T) {
	got := strings.Join(ForUser(1000, ""), " ")
	want := "/run/user/1000/ocishim /run/ocishim/1000 /tmp/ocishim-1000"
	if got != want {
		t.Errorf("ForUser = %q, want %q", got, want)
	}
	if got := strings.Join(ForSteps(1000), " "); got != "/run/ocishim/1000 /run/user/1000/ocishim /tmp/ocishim-1000" {
		t.Errorf("ForSteps = %q", got)
	}
	if got := strings.Join(ForSteps(0), " "); got != "/run/ocishim/0 /tmp/ocishim-0" {
		t.Errorf("ForSteps of root = %q", got)
	}
	if got := ForUser(1000, "/x")[0]; got != "/x/ocishim" {
		t.Errorf("with $XDG_RUNTIME_DIR the first root is %q", got)
	}
	if got := ForUser(1000, "relative")[0]; got != "/run/user/1000/ocishim" {
		t.Errorf("with a relative $XDG_RUNTIME_DIR the first root is %q", got)
	}
}
