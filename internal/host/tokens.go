package host

import "strings"

// Tokens are what the dynamic loader puts in the place of $ORIGIN, $LIB and $PLATFORM in
// search paths and in names of libraries. What $LIB and $PLATFORM stand for was decided
// when glibc was built, or by the processor, so that they may have several readings.
type Tokens struct {
	Origin    string // the directory of the object; empty where it is not known
	Libs      []string
	Platforms []string
}

// TokensOf are the readings for an architecture, named as in GOARCH.
func TokensOf(arch, origin string) Tokens {
	t := Tokens{Origin: origin, Libs: []string{"lib64", "lib"}}
	if triplet := Triplet(arch); triplet != "" {
		t.Libs = append([]string{"lib/" + triplet}, t.Libs...)
	}
	switch arch {
	case "amd64": // glibc 2.26 to 2.36 named the kind of processor
		t.Platforms = []string{"haswell", "xeon_phi", "x86_64"}
	case "arm64":
		t.Platforms = []string{"aarch64"}
	case "ppc64le":
		t.Platforms = []string{"power11", "power10", "power9", "power8"}
	}
	return t
}

// mostReadings bounds what one path can be expanded to.
const mostReadings = 32

// Expand lists what a text with tokens may become, in the order of their readings. One
// with a token that nothing is known for becomes nothing, as for the loader; a token that
// the loader does not know is left as it is.
func (t Tokens) Expand(text string) []string {
	before, rest, found := strings.Cut(text, "$")
	if !found {
		return []string{text}
	}
	readings, length := []string{"$"}, 0
	for _, token := range []struct {
		name     string
		readings []string
	}{{"ORIGIN", t.origins()}, {"PLATFORM", t.Platforms}, {"LIB", t.Libs}} {
		if length = tokenLength(rest, token.name); length > 0 {
			readings = token.readings
			break
		}
	}
	var expanded []string
	for _, end := range t.Expand(rest[length:]) {
		for _, reading := range readings {
			if length := len(before) + len(reading) + len(end); length <= maxPath && len(expanded) < mostReadings {
				expanded = append(expanded, before+reading+end)
			}
		}
	}
	return expanded
}

func (t Tokens) origins() []string {
	if t.Origin == "" {
		return nil
	}
	return []string{t.Origin}
}

// tokenLength is how much of what follows a $ is the token of that name, in braces or
// not; 0 where it is another. The longest name counts: $LIBS is none.
func tokenLength(rest, name string) int {
	if after, ok := strings.CutPrefix(rest, "{"+name+"}"); ok {
		return len(rest) - len(after)
	}
	after, ok := strings.CutPrefix(rest, name)
	if !ok || after != "" && isNameByte(after[0]) {
		return 0
	}
	return len(name)
}

func isNameByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}
