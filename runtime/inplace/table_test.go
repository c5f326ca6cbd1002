package inplace

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/spectest"
)

// A row is a row of the table in docs/launchers.md: what it says of some fields.
type row struct {
	fields  []string // by their paths in config.json
	words   string   // the rest of the first column after `mounts`
	verdict string
}

func (r row) sends() bool    { return strings.HasPrefix(r.verdict, "sends it to libcontainer") }
func (r row) honoured() bool { return strings.HasPrefix(r.verdict, "honoured") }

// documented reads the table of fields.
func documented(t *testing.T) []row {
	t.Helper()
	text, err := os.ReadFile("../../docs/launchers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n| field | in place |\n|---|---|\n")
	if !found {
		t.Fatal("docs/launchers.md has no table of fields")
	}
	var rows []row
	for line := range strings.Lines(table) {
		columns := strings.SplitN(strings.TrimSpace(line), " | ", 2)
		if len(columns) < 2 {
			break
		}
		r := row{verdict: strings.TrimSuffix(columns[1], " |")}
		name, words, _ := strings.Cut(strings.TrimPrefix(columns[0], "| "), ":")
		r.words = words
		parent := ""
		for _, field := range quoted(name) {
			if strings.Contains(field, ".") {
				parent = field[:strings.LastIndex(field, ".")+1]
			} else {
				field = parent + field // `process.args`, `env`
			}
			r.fields = append(r.fields, field)
		}
		rows = append(rows, r)
	}
	return rows
}

// quoted returns the words of the text that are set as code.
func quoted(text string) []string {
	var words []string
	for i, word := range strings.Split(text, "`") {
		if i%2 == 1 {
			words = append(words, word)
		}
	}
	return words
}

// rowOf returns the row of the field, or of the nearest field that contains it.
func rowOf(rows []row, leaf string) *row {
	for field := leaf; field != ""; {
		for i := range rows {
			if slices.Contains(rows[i].fields, field) {
				return &rows[i]
			}
		}
		field = field[:max(strings.LastIndex(field, "."), 0)]
	}
	return nil
}

// Each field of the specification has a row that agrees with Supports.
func TestTableOfFields(t *testing.T) {
	rows := documented(t)
	full, err := spectest.Full()
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, leaf := range spectest.Leaves() {
		plain := strings.NewReplacer("[]", "", "{}", "").Replace(leaf)
		known = append(known, plain)
		r := rowOf(rows, plain)
		if r == nil {
			t.Errorf("%s: docs/launchers.md has no row for it", leaf)
			continue
		}
		spec := supportedSpec(t)
		switch {
		case elsewhere[leaf] != "" || slices.Contains(r.fields, "mounts"):
		case r.sends():
			if spectest.Copy(spec, full, leaf); Supports(spec) == "" {
				t.Errorf("%s: the row says that it %s, and it is launched in place", leaf, r.verdict)
			}
		case r.honoured():
			if spectest.Clear(spec, leaf) {
				continue // the launch in place accepts it
			}
			if spectest.Copy(spec, full, leaf); !strings.Contains(r.verdict, "libcontainer") || Supports(spec) == "" {
				t.Errorf("%s: the row says that it is %s", leaf, r.verdict)
			}
		}
	}
	for _, r := range rows {
		for _, field := range r.fields {
			if !slices.ContainsFunc(known, func(leaf string) bool { return leaf == field || strings.HasPrefix(leaf, field+".") }) {
				t.Errorf("%s: it has a row, and the specification has no such field", field)
			}
		}
	}
}

// What the rows of mounts say of types and options agrees with newMount.
func TestTableOfMounts(t *testing.T) {
	checked := 0
	check := func(r row, what string, m specs.Mount) {
		checked++
		if _, err := newMount(m); (err != nil) != r.sends() {
			t.Errorf("mounts, %s: the row says %s, and newMount %v", what, r.verdict, err)
		}
	}
	seen := map[string]bool{}
	for _, r := range documented(t) {
		if !slices.Contains(r.fields, "mounts") {
			continue
		}
		for _, word := range quoted(r.words) {
			m := specs.Mount{Destination: "/d", Source: "/s", Type: "tmpfs", Options: []string{word}}
			ids := []specs.LinuxIDMapping{{Size: 1}}
			switch word {
			case "uidMappings":
				m.Options, m.UIDMappings = nil, ids
			case "gidMappings":
				m.Options, m.GIDMappings = nil, ids
			case "r": // these options with a leading r
				continue
			}
			check(r, word, m)
		}
		for _, kind := range []string{"bind", "tmpfs", "devpts", "overlay", "proc", "sysfs", "mqueue", "cgroup"} {
			if plain := regexp.MustCompile("`[^`]*`").ReplaceAllString(r.words, ""); !seen[kind] && regexp.MustCompile(`\b`+kind+`\b`).MatchString(plain) {
				seen[kind] = true
				check(r, kind, specs.Mount{Destination: "/d", Source: "/s", Type: kind})
			}
		}
	}
	if checked < 25 || len(seen) != 8 {
		t.Errorf("%d words and types, of them types %v: does the table look otherwise now?", checked, seen)
	}
}
