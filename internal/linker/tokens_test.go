package linker

import (
	"slices"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// Which tokens the loader replaces, and by what.
func TestTokens(t *testing.T) {
	all := tokens{origin: "/opt/app/bin", libs: []string{"lib/x86_64-linux-gnu", "lib64"}, platforms: []string{"x86_64"}}
	for text, want := range map[string]string{
		"/opt/lib":                    "/opt/lib",
		"$ORIGIN/../lib":              "/opt/app/bin/../lib",
		"${ORIGIN}/x":                 "/opt/app/bin/x",
		"$ORIGIN":                     "/opt/app/bin",
		"/a/$ORIGINAL":                "/a/$ORIGINAL",
		"/a/$ORIGIN_":                 "/a/$ORIGIN_",
		"/a/${ORIGIN":                 "/a/${ORIGIN",
		"/a/$LIB/b":                   "/a/lib/x86_64-linux-gnu/b /a/lib64/b",
		"/a/${LIB}":                   "/a/lib/x86_64-linux-gnu /a/lib64",
		"/a/$LIBS":                    "/a/$LIBS",
		"/a/$PLATFORM/$LIB":           "/a/x86_64/lib/x86_64-linux-gnu /a/x86_64/lib64",
		"$ORIGIN/${PLATFORM}/$ORIGIN": "/opt/app/bin/x86_64//opt/app/bin",
		"/a/$":                        "/a/$",
		"/a/$$LIB":                    "/a/$lib/x86_64-linux-gnu /a/$lib64",
		"":                            "",
	} {
		if got := strings.Join(all.expand(text), " "); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if got := (tokens{libs: []string{"lib"}}).expand("$ORIGIN/$LIB"); len(got) > 0 {
		t.Errorf("without a place: %q", got)
	}
	for _, hostile := range []string{strings.Repeat("$LIB/", 800), strings.Repeat("$ORIGIN", 500), strings.Repeat("$", 4000)} {
		for _, text := range all.expand(hostile) {
			if len(text) > 4096 {
				t.Errorf("%.20s... becomes a text of %d bytes", hostile, len(text))
			}
		}
	}
}

// A processor can use the levels whose features it has completely.
func TestUsableHwcaps(t *testing.T) {
	const v2 = "fpu cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2"
	const v3 = v2 + " avx avx2 bmi1 bmi2 f16c fma abm movbe"
	for flags, want := range map[string]int{
		"fpu": 0, v2: 1, v3: 2, strings.Replace(v3, "movbe", "", 1): 1, strings.Replace(v3, "ssse3", "", 1): 0,
		v3 + " avx512f avx512bw avx512cd avx512dq avx512vl": 3, v3 + " avx512f": 2,
	} {
		node := fakenode.New(t)
		node.File("/proc/cpuinfo", "processor\t: 0\nmodel name\t: x\nflags\t\t: "+flags+"\nbugs\t: y\n\nprocessor\t: 1\n")
		levels := hwcaps("amd64")
		if got := UsableHwcaps(node.Tree(), "amd64"); !slices.Equal(got, levels[len(levels)-want:]) {
			t.Errorf("%s: %v, want %d levels", flags, got, want)
		}
	}
	node := fakenode.New(t)
	if got := UsableHwcaps(node.Tree(), "amd64"); len(got) != 3 {
		t.Errorf("of a processor that nothing is known of: %v", got)
	}
	if got := UsableHwcaps(node.Tree(), "arm64"); len(got) != 0 {
		t.Errorf("arm64 has %v", got)
	}
}
