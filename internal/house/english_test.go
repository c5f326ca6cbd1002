package house_test

import (
	"go/ast"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A phrase is one that a reader has to read twice, and what to write in its place.
type phrase struct {
	pattern *regexp.Regexp
	better  string
}

// phrases are the worst of a private dialect. Slurm has compute nodes, and /dev has device
// nodes; the machine is the host.
var phrases = []phrase{
	{regexp.MustCompile(`\btells? whether\b`), `reports whether`},
	{regexp.MustCompile(`\btells? (so|that|of|who|what|how)\b`), `says`},
	{regexp.MustCompile(`, too\b`), `also`},
	{regexp.MustCompile(`\blikewise\b`), `say it again, or "the same"`},
	{regexp.MustCompile(`\bnone of (ours|theirs|its own)\b`), `say what it is`},
	{regexp.MustCompile(`\bby that\b`), `"so", or name what`},
	{regexp.MustCompile(`\bas many\b`), `give the number`},
	{regexp.MustCompile(`(^|[.:;] )[Tt](hat|hose) of\b[^.]*\.?$`), `repeat the noun`},
	{regexp.MustCompile(`\bwho(ever)? (asks|calls|has|wants|waits|reads) (for|that|it|gets|is)\b`), `name the caller`},
	{regexp.MustCompile(`\bcomes? to be\b`), `becomes, or exists`},
	{regexp.MustCompile(`\b(this|the|a|another|our|of|each|every|that) nodes?\b`), `host, or device node, or a node of Slurm's`},
	{regexp.MustCompile(`\bnodes?'s?\b`), `host's`},
	{regexp.MustCompile(`, else\b|^[Ee]lse\b|\. Else\b`), `otherwise`},
	{regexp.MustCompile(`\bis none\b`), `is not one`},
	{regexp.MustCompile(`\b(has|have|had) (it|them|the \w+) (made|done|run|killed|shown|wait|begin|start|end)\b`), `makes it ...`},
}

// deviceOrSlurm are the uses of the word that are right.
var deviceOrSlurm = regexp.MustCompile(`(?i)device nodes?|nodes? of (the|an?) (device|allocation|job|step|cluster|tree|Slurm)|compute nodes?|job's nodes?|nodes? (list|name)|by the node's|inode|host or node`)

// dialect lists the phrases in a text.
func dialect(text string) []string {
	var found []string
	plain := deviceOrSlurm.ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
	for _, p := range phrases {
		if match := p.pattern.FindString(plain); match != "" {
			found = append(found, strconv.Quote(match)+": "+p.better)
		}
	}
	return found
}

// TestPlainEnglish looks for the worst phrases in comments and messages.
func TestPlainEnglish(t *testing.T) {
	for _, f := range parseAll(t, moduleRoot) {
		for _, group := range f.syntax.Comments {
			for _, found := range dialect(group.Text()) {
				t.Errorf("%s: comment: %s", f.at(group), found)
			}
		}
		if f.test {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || !strings.Contains(literal.Value, " ") {
				return true
			}
			for _, found := range dialect(strings.Trim(literal.Value, "\"`")) {
				t.Errorf("%s: text: %s", f.at(literal), found)
			}
			return true
		})
	}
}

func TestPlainEnglishBites(t *testing.T) {
	for text, want := range map[string]int{
		"IsX tells whether the file is there, too.": 2,
		"That of the caller.":                       1,
		"What lies on this node is the host's.":     1,
		"A device node of the container's /dev.":    0,
		"It is a file, else nothing.":               1,
		"Close releases the tree.":                  0,
	} {
		if got := dialect(text); len(got) != want {
			t.Errorf("%q: %q, want %d", text, got, want)
		}
	}
}
