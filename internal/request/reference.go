package request

import (
	"fmt"
	"strings"
)

// Reference returns a table of all keys as Markdown, for users: what to type where.
func Reference() string {
	var b strings.Builder
	b.WriteString("| option of run-image | variable | annotation, after org.ocishim. | pyxis's variables, also read | |\n|---|---|---|---|---|\n")
	for _, k := range Keys() {
		synonyms := k.Synonym
		if k.Opposite != "" {
			synonyms += ", " + k.Opposite
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", k.options(), k.Variable(), k.Name, synonyms, k.Doc)
	}
	return b.String()
}

// options are the ways to write the option.
func (k Key) options() string {
	option := "--" + k.OptionName()
	var short string
	if k.Short != "" {
		short = "`-" + k.Short + "`, "
	}
	switch k.Form {
	case Switch:
		return short + "`" + option + "`, `" + option + "=false`"
	case SwitchOrText:
		return short + "`" + option + "[=" + k.Values + "]`"
	}
	return short + "`" + option + " " + k.Values + "`"
}

// FileReference returns a table of those keys that environment files have like the other places, as
// Markdown.
func FileReference() string {
	forms := map[Form]string{Text: "string", Switch: "true or false", List: "array of strings", SwitchOrText: "true, false or a string"}
	var b strings.Builder
	for _, k := range Keys() {
		if k.Name != "env" {
			fmt.Fprintf(&b, "| `%s` | %s | %s. %s |\n", k.Name, forms[k.Form], k.Doc, k.Values)
		}
	}
	return b.String()
}
