package inplace

import (
	"slices"
	"strings"
	"testing"
)

func TestWrongTmpfsOption(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"size=1m,mode=1777,nr_inodes=5k": "", "size=50%": "", "sise=1m": "sise=1m", "size=": "size=", "size=lots": "size=lots", "nosuid,nodev,ro,size=1x": "size=1x",
		"mode=9": "mode=9", "mode=755,uid=-1": "uid=-1", "huge=sometimes": "huge=sometimes", "huge=advise": "", "mpol=interleave:0": "", "noswap": "", "": "", "rprivate": "", "tmpcopyup": "",
	} {
		if got := WrongTmpfsOption(strings.Split(options, ",")); got != want {
			t.Errorf("%s: %q, want %q", options, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	got := environment([]string{"A=1", "HOME=", "B=2", "A=3", "HOME=/x", "E"})
	if want := []string{"B=2", "A=3", "HOME=/x", "E"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := environment([]string{"HOME="}); len(got) != 1 || !strings.HasPrefix(got[0], "HOME=/") {
		t.Errorf("%q", got)
	}
}
