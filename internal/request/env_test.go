package request

import (
	"strings"
	"testing"
)

func TestParseEnvFile(t *testing.T) {
	const text = "# comment\n\nA=1 2\r\nexport B=\"x\"\n  C\nD=\nE==\n"
	got, err := ParseEnvFile(text, "f")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range got {
		name := v.Name + "=" + v.Value
		if v.Pass {
			name = v.Name
		}
		names = append(names, name)
	}
	if want := `A=1 2|B="x"|C|D=|E==`; strings.Join(names, "|") != want {
		t.Errorf("got %v", names)
	}
	for text, want := range map[string]string{"A=1\n=x\n": "f:2: ", "A B=1": "not the name of a variable", "A=\x00": "NUL"} {
		if _, err := ParseEnvFile(text, "f"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestExpand(t *testing.T) {
	lookup := func(name string) (string, bool) {
		value, found := map[string]string{"A": "a", "EMPTY": "", "PATH": "/bin"}[name]
		return value, found
	}
	for value, want := range map[string]string{
		"":                "",
		"x":               "x",
		"${A}${A}":        "aa",
		"${PATH}:/x":      "/bin:/x",
		"$$A$$$${A}":      "$A$${A}",
		"$A $":            "$A $",
		"${NONE:-d}":      "d",
		"${EMPTY:-d}":     "d",
		"${EMPTY}":        "",
		"${NONE:-}":       "",
		"${A:-${NONE}}":   "a}",
		"$(touch /x)`id`": "$(touch /x)`id`",
		"${NONE}":         "!there is no variable NONE",
		"${A":             "!a } is missing",
		"${}":             "!not the name of a variable",
		"${A B}":          "!not the name of a variable",
	} {
		got, err := Expand(value, lookup)
		if text, fails := strings.CutPrefix(want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%q: %q, %v, want the error %s", value, got, err, text)
			}
		} else if err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", value, got, err, want)
		}
	}
}

// Variables win over annotations, and ours over pyxis's; a bundle's own mount nothing.
func TestReadKeys(t *testing.T) {
	annotations := map[string]string{"org.ocishim.mounts": "/a:/x,/b:/y", "org.ocishim.home": "false"}
	env := []string{"PYXIS_CONTAINER_MOUNTS=/p:/x", `OCISHIM_MOUNTS=/o:/y,/co\,mma:/z`, "OCISHIM_HOME=true", "OCISHIM_ENV=A,B=c"}
	destinations := func(r Request) string {
		var all []string
		for _, m := range r.Mounts {
			all = append(all, m.Source+":"+m.Destination)
		}
		return strings.Join(all, " ")
	}
	r, err := Read(annotations, env, true)
	if err != nil || destinations(r) != "/p:/x /o:/y /co,mma:/z" || r.Home != (Choice{"true", "OCISHIM_HOME"}) || len(r.Env) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = Read(annotations, env, false)
	if err != nil || destinations(r) != "/a:/x /b:/y" || r.Home.Value != "false" || len(r.Env) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, entry := range []string{"OCISHIM_HOME=maybe", "OCISHIM_MOUNTS=x", "PYXIS_CONTAINER_WORKDIR=relative", "OCISHIM_NO_ENV=A=b", "OCISHIM_ENV=a b"} {
		name, _, _ := strings.Cut(entry, "=")
		if _, err := Read(nil, []string{entry}, true); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: %v", entry, err)
		}
	}
}
