package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/runtime"
)

// options lists the options of each verb, and under "" those of the program itself.
func options(app *cli.App) map[string][]cli.Flag {
	all := map[string][]cli.Flag{"": app.Flags}
	for _, c := range app.Commands {
		all[c.Name] = c.Flags
	}
	return all
}

// spelling returns an option's name as it is typed.
func spelling(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func TestHelpNamesEveryOption(t *testing.T) {
	for verb, flags := range options(newApp(new(invocation))) {
		var out bytes.Buffer
		app := newApp(new(invocation))
		app.Writer = &out
		if verb == "image" {
			continue // another program answers
		}
		args := []string{"ocishim", verb, "--help"}
		if verb == "" {
			args = []string{"ocishim", "--help"}
		}
		if err := app.Run(args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		for _, f := range flags {
			for _, name := range f.Names() {
				if !strings.Contains(out.String(), spelling(name)) {
					t.Errorf("%v does not name %s", args, spelling(name))
				}
			}
		}
	}
}

// Every verb and option is in the manual page.
func TestManualNamesEveryOption(t *testing.T) {
	if os.Getenv("OCISHIM_TEST_FIXTURE") != "" {
		t.Skip("the second run, as an ordinary user, is elsewhere: the first one has done this")
	}
	source, err := os.ReadFile(filepath.Join("..", "..", "docs", "ocishim.8"))
	if err != nil {
		t.Fatal(err)
	}
	manual := strings.ReplaceAll(string(source), `\-`, "-") // man(7) escapes hyphens
	for verb, flags := range options(newApp(new(invocation))) {
		if !strings.Contains(manual, verb) {
			t.Errorf("verb %s is not in the manual", verb)
		}
		for _, f := range flags {
			for _, name := range f.Names() {
				if !strings.Contains(manual, spelling(name)) {
					t.Errorf("option %s of %q is not in the manual", spelling(name), verb)
				}
			}
		}
	}
}

// All options that crun's create and run have, and its global ones, are accepted.
func TestOptionsOfCrun(t *testing.T) {
	launch := []string{"bundle", "b", "console-socket", "pid-file", "no-pivot", "no-new-keyring", "preserve-fds", "no-subreaper"}
	wantOptions(t, map[string][]string{
		"":       {"root", "log", "log-format", "debug", "rootless", "systemd-cgroup", "cgroup-manager"},
		"create": launch,
		"run":    append([]string{"detach", "d", "keep"}, launch...),
		"delete": {"force", "f"},
		"kill":   {"all", "a"},
		"list":   {"format", "f", "quiet", "q"},
		"spec":   {"bundle", "b", "rootless"},
	})
}

// Every verb and option of runc, in the version of our libcontainer, is accepted, including hidden
// ones.
func TestOptionsOfRunc(t *testing.T) {
	wanted := optionsOfRunc(t)
	for _, verb := range []string{"create", "run", "exec", "ps", "update", "events", "checkpoint", "restore", "kill", "list", "spec"} {
		if len(wanted[verb]) == 0 {
			t.Errorf("no options of runc %s are found", verb)
		}
	}
	if len(wanted[""]) == 0 {
		t.Error("no global options of runc are found")
	}
	wantOptions(t, wanted)
}

// wantOptions checks that the verbs have the options.
func wantOptions(t *testing.T, wanted map[string][]string) {
	t.Helper()
	all := options(newApp(new(invocation)))
	for verb, names := range wanted {
		if _, known := all[verb]; !known {
			t.Errorf("there is no verb %s", verb)
		}
		for _, name := range names {
			if !hasOption(all[verb], name) {
				t.Errorf("%q has no option %s", verb, spelling(name))
			}
		}
	}
}

func hasOption(flags []cli.Flag, name string) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
}

// features prints what features.md specifies, and lists at least the options of mounts and
// namespaces that every runtime has.
func TestFeatures(t *testing.T) {
	data, err := json.Marshal(runtime.Features(version))
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var f features.Features
	if err := decoder.Decode(&f); err != nil {
		t.Fatalf("features do not fit the specification: %v", err)
	}
	if f.OCIVersionMax != specs.Version || f.OCIVersionMin != "1.0.0" {
		t.Errorf("OCI versions %s to %s", f.OCIVersionMin, f.OCIVersionMax)
	}
	for _, want := range []string{"ro", "rbind", "nosuid", "noexec", "nodev", "rprivate"} {
		if !slices.Contains(f.MountOptions, want) {
			t.Errorf("mount option %s is missing", want)
		}
	}
	for _, want := range []string{"pid", "mount", "user", "network", "ipc", "uts", "cgroup"} {
		if !slices.Contains(f.Linux.Namespaces, want) {
			t.Errorf("namespace %s is missing", want)
		}
	}
	if s := f.Linux.Seccomp; s == nil || s.Enabled == nil || !*s.Enabled || !slices.Contains(s.Actions, "SCMP_ACT_ERRNO") {
		t.Errorf("seccomp %+v", s)
	}
}
