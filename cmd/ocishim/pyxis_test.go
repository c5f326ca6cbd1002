package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/request"
)

// asPyxis calls what run-image calls with the options, in the environment.
func asPyxis(t *testing.T, env []string, args ...string) (r request.Request, image string, err error) {
	t.Helper()
	app := &cli.App{Commands: []*cli.Command{{Name: "run-image", Flags: wishFlags(), Action: func(c *cli.Context) error {
		image = imageBy(c)
		if r, err = request.Read(nil, withoutPyxis(c, env), true); err == nil {
			err = readOptions(c, &r)
		}
		return nil
	}}}, DisableSliceFlagSeparator: true}
	if failed := app.Run(append([]string{"ocishim", "run-image"}, args...)); failed != nil {
		t.Fatal(failed)
	}
	return r, image, err
}

// TestPyxis gives run-image what the plugin gives it.
func TestPyxis(t *testing.T) {
	env := []string{
		"PYXIS_CONTAINER_MOUNTS=/env:/env", "PYXIS_CONTAINER_WORKDIR=/env", "PYXIS_CONTAINER_ENTRYPOINT=maybe",
		"PYXIS_CONTAINER_ENV=A", "OCISHIM_WORKDIR=/ours", "OCISHIM_MOUNTS=/ours:/ours", "OTHER=1",
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, `"PYXIS_CONTAINER_ENTRYPOINT: expected true or false, not \"maybe\"" image false`},
		{
			[]string{"image:--container-image=x"}, // the plugin has read no variable
			"/ours(OCISHIM_WORKDIR) /ours:/ours(OCISHIM_MOUNTS) --container-image true",
		},
		{
			[]string{"image:PYXIS_CONTAINER_IMAGE=x", "mounts:--container-mounts=/a:/b,/a=b:/c", "workdir:--container-workdir=/option"},
			"/option(--container-workdir) /ours:/ours(OCISHIM_MOUNTS) /a:/b(--container-mounts) /a=b:/c(--container-mounts) PYXIS_CONTAINER_IMAGE true",
		},
		{
			[]string{"image:--container-image=x", "workdir:PYXIS_CONTAINER_WORKDIR=/env", "mounts:PYXIS_CONTAINER_MOUNTS=/env:/env", "env:PYXIS_CONTAINER_ENV=A"},
			"/ours(OCISHIM_WORKDIR) /env:/env(PYXIS_CONTAINER_MOUNTS) /ours:/ours(OCISHIM_MOUNTS) A(PYXIS_CONTAINER_ENV) --container-image true",
		},
		{[]string{"env:--container-env=A,B"}, "/ours(OCISHIM_WORKDIR) /ours:/ours(OCISHIM_MOUNTS) A(--container-env) B(--container-env) image true"},
		{[]string{"home:--container-mount-home=true"}, "/ours(OCISHIM_WORKDIR) /ours:/ours(OCISHIM_MOUNTS) home=true(--container-mount-home) image true"},
		{[]string{"entrypoint:execute_entrypoint=true"}, "/ours(OCISHIM_WORKDIR) /ours:/ours(OCISHIM_MOUNTS) entrypoint=true(execute_entrypoint) image true"},
		{[]string{"later:--container-later=false"}, "/ours(OCISHIM_WORKDIR) /ours:/ours(OCISHIM_MOUNTS) image true"},
		{[]string{"later:--container-later=true"}, `"--container-later: this version of ocishim cannot do that: leave it out" image true`},
		{[]string{"workdir:--container-workdir=x"}, `"--container-workdir: \"x\" is not an absolute path" image true`},
	} {
		var args []string
		for _, arg := range test.args {
			args = append(args, "--pyxis", arg)
		}
		r, image, err := asPyxis(t, env, append(args, "--", "x")...)
		if got := describe(r, image, err); got != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.args, got, test.want)
		}
	}
	for _, wrong := range []string{"workdir", "workdir=/a:b", ":x=y", "x:=y", ""} {
		if _, _, err := asPyxis(t, nil, "--pyxis", wrong, "--", "x"); !errors.Is(err, errPyxis) {
			t.Errorf("--pyxis %q: %v", wrong, err)
		}
	}
}

func describe(r request.Request, image string, err error) string {
	if err != nil {
		return fmt.Sprintf("%q %s %v", err, image, r.OwnDirectory)
	}
	var all []string
	add := func(prefix string, c request.Choice) {
		if c.Value != "" {
			all = append(all, prefix+c.Value+"("+c.By+")")
		}
	}
	add("", r.ContainerWorkdir)
	for _, m := range r.Mounts {
		add("", request.Choice{Value: m.Source + ":" + m.Destination, By: m.By})
	}
	for _, v := range r.Env {
		add("", request.Choice{Value: v.Name, By: v.By})
	}
	add("home=", r.Home)
	add("entrypoint=", r.Entrypoint)
	return strings.Join(append(all, image, fmt.Sprint(r.OwnDirectory)), " ")
}

// TestPyxisDocs compares the table of docs/pyxis.md with the plugin's source, and keys that the plugin
// passes on with those of run-image.
func TestPyxisDocs(t *testing.T) {
	if os.Getenv("OCISHIM_TEST_FIXTURE") != "" {
		t.Skip("the second run, as an ordinary user, is elsewhere: the first one has done this")
	}
	docs, options, wishes := read(t, "../../docs/pyxis.md"), read(t, "../../spank/ocishim.c"), read(t, "../../spank/wishes.c")
	_, table, _ := strings.Cut(docs, "<!-- options -->")
	table, _, _ = strings.Cut(table, "<!-- end of options -->")
	var documented []string
	for line := range strings.Lines(table) {
		columns := strings.Split(line, "|")
		if len(columns) < 5 {
			continue
		}
		for _, name := range matches("`([^`]+)`", columns[1]) {
			documented = append(documented, strings.TrimPrefix(name, "--"))
		}
		for _, name := range matches("`([^`]+)`", columns[2]) {
			documented = append(documented, pyxisVariables+name)
		}
	}
	plugin := append(matches(`(?m)^\t(?:TEXT|SWITCH)\("([a-z-]+)"`, options), matches(`"(PYXIS_CONTAINER_[A-Z_]+)"`, wishes)...)
	slices.Sort(documented)
	slices.Sort(plugin)
	if len(plugin) != 29 || !slices.Equal(documented, plugin) {
		t.Errorf("docs/pyxis.md has %q, the plugin has %q", documented, plugin)
	}
	for _, setting := range matches(`argv\[i\], "([a-z_]+=)`, options) {
		if !strings.Contains(docs, "| `"+setting) {
			t.Errorf("docs/pyxis.md does not name the setting %s", setting)
		}
	}
	keys := matches(`(?m)^\t\[[A-Z_]+\] = \{"([a-z_]+)"`, wishes)
	for _, k := range request.Keys() {
		for _, row := range matches("(?m)^(.*`"+strings.TrimPrefix(k.Synonym, pyxisVariables)+"`.*not available yet.*)$", table) {
			t.Errorf("docs/pyxis.md: run-image has %s by now: %s", k.Name, row)
		}
		if k.Synonym != "" && !slices.Contains(keys, k.Name) {
			t.Errorf("the plugin does not pass on %s, for which pyxis has %s", k.Name, k.Synonym)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// matches returns what the group of the pattern matches, each time.
func matches(pattern, text string) []string {
	var all []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}
