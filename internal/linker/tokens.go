package linker

import "strings"

// tokens are what the dynamic loader substitutes for $ORIGIN, $LIB and $PLATFORM in
// search paths and in names of libraries. $LIB and $PLATFORM depend on how glibc was
// built, or on the processor, so each may have several readings.
type tokens struct {
	origin    string // the directory of the object; empty if unknown
	libs      []string
	platforms []string
}

// tokensOf returns the readings for an architecture, named as in GOARCH.
func tokensOf(arch, origin string) tokens {
	t := tokens{origin: origin, libs: []string{"lib64", "lib"}}
	if triplet := Triplet(arch); triplet != "" {
		t.libs = append([]string{"lib/" + triplet}, t.libs...)
	}
	switch arch {
	case "amd64": // glibc 2.26 to 2.36 used the kind of processor
		t.platforms = []string{"haswell", "xeon_phi", "x86_64"}
	case "arm64":
		t.platforms = []string{"aarch64"}
	case "ppc64le":
		t.platforms = []string{"power11", "power10", "power9", "power8"}
	}
	return t
}

// mostReadings bounds the number of expansions of one path, and maxPath their length in
// bytes.
const mostReadings, maxPath = 32, 4096

// expand lists the expansions of a text with tokens, in the order of their readings. As
// in the loader, a text with a token of unknown value expands to nothing, and a token
// that the loader does not know stays.
func (t tokens) expand(text string) []string {
	before, rest, found := strings.Cut(text, "$")
	if !found {
		return []string{text}
	}
	readings, length := []string{"$"}, 0
	for _, token := range []struct {
		name     string
		readings []string
	}{{"ORIGIN", t.origins()}, {"PLATFORM", t.platforms}, {"LIB", t.libs}} {
		if length = tokenLength(rest, token.name); length > 0 {
			readings = token.readings
			break
		}
	}
	var expanded []string
	for _, end := range t.expand(rest[length:]) {
		for _, reading := range readings {
			if length := len(before) + len(reading) + len(end); length <= maxPath && len(expanded) < mostReadings {
				expanded = append(expanded, before+reading+end)
			}
		}
	}
	return expanded
}

func (t tokens) origins() []string {
	if t.origin == "" {
		return nil
	}
	return []string{t.origin}
}

// tokenLength returns the length of the token of that name after a $, in braces or not;
// 0 if it is another token. The longest name counts: $LIBS is not $LIB.
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
