package request

import (
	"strings"
	"testing"
)

// Whatever a key is given, in each place where it can be given: it is accepted, or is an error of one
// short line that says where it stands and how it begins.
func TestHostileValues(t *testing.T) {
	values := map[string]string{
		"long":       "/" + strings.Repeat("x", 1<<20) + "=" + strings.Repeat("y", 1<<20),
		"not UTF-8":  "/\xff\xfe:/\xff",
		"line break": "/a\n/b",
		"NUL":        "/a\x00b",
		"escape":     "\x1b[2J/a",
		"command":    "$(touch /tmp/x)",
		"variable":   "${NOSUCH}",
		"number":     "17",
		"path":       "../../../etc/shadow",
		"commas":     ",,,,",
		"spaces":     "   ",
	}
	accepted := map[string]bool{}
	for _, k := range Keys() {
		for name, value := range values {
			for by, read := range map[string]func() (Request, error){
				k.Variable():                       func() (Request, error) { return Read(nil, []string{k.Variable() + "=" + value}, true) },
				"annotation org.ocishim." + k.Name: func() (Request, error) { return Read(map[string]string{annotationPrefix + k.Name: value}, nil, true) },
				"/e.toml:3: " + k.Name: func() (Request, error) {
					annotations, err := Annotate(nil, []Wish{{Key: k.Name, Values: []string{value}, By: "/e.toml:3"}})
					if err != nil {
						t.Fatal(err)
					}
					return Read(annotations, nil, true)
				},
				"--option": func() (r Request, err error) { return r, r.Set(k.Name, []string{value}, "--option") },
			} {
				_, err := read()
				if err == nil {
					accepted[k.Name+", "+name] = true
					continue
				}
				message := err.Error()
				if strings.ContainsAny(message, "\n\x00\x1b") || strings.IndexByte(message, 0xff) >= 0 || len(message) > 600 {
					t.Errorf("%s of %s: not one short line: %q", name, by, message)
				}
				if !strings.HasPrefix(message, by) && !strings.Contains(message, wishesAnnotation) {
					t.Errorf("%s: no origin: %q, wanted %s", name, message, by)
				}
			}
		}
	}
	for _, never := range []string{
		"workdir, line break", "workdir, NUL", "workdir, command", "workdir, number", "home, number", "home, long", "entrypoint, command",
		"mounts, line break", "mounts, NUL", "mounts, number", "env, NUL", "env, long", "no_env, NUL",
	} {
		if accepted[never] {
			t.Errorf("accepted: %s", never)
		}
	}
}
