package main_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ocishim/ocishim/bundle"
)

// list is an option that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// bundle [OPTIONS] DIR COMMAND... makes a bundle with the shared root filesystem.
func cmdBundle(ts *testscript.TestScript, neg bool, args []string) {
	var env, mounts, hooks, fifos list
	flags := flag.NewFlagSet("bundle", flag.ContinueOnError)
	flags.Var(&env, "env", "NAME=VALUE for the application")
	flags.Var(&mounts, "mount", "SOURCE:TARGET to bind; ./SOURCE is relative to the bundle")
	flags.Var(&hooks, "hook", "NAME=SCRIPT for sh -c, as one more hook of that name")
	flags.Var(&fifos, "fifo", "PATH of a fifo among linux.devices")
	terminal := flags.Bool("terminal", false, "process.terminal")
	writable := flags.Bool("writable", false, "no read-only root")
	rootfs := flags.String("rootfs", ts.Getenv("ROOTFS"), "root.path")
	shares := flags.String("shares", "", "TYPE of the namespace that is the host's")
	more := flags.String("more", "", "JSON `FILE` that is merged into config.json: lists get longer, null removes")
	ts.Check(flags.Parse(args))
	if neg || flags.NArg() < 2 {
		ts.Fatalf("usage: bundle [OPTIONS] DIR COMMAND...")
	}
	spec, err := exampleSpec()
	ts.Check(err)
	spec.Process.Args, spec.Process.Terminal = flags.Args()[1:], *terminal
	spec.Process.Env = append(spec.Process.Env, append(env, "TEST_OF_STATE="+ts.Getenv("STATE"))...)
	spec.Root.Path, spec.Root.Readonly = *rootfs, !*writable
	for _, m := range mounts {
		source, target, _ := strings.Cut(m, ":")
		if !strings.HasPrefix(source, "./") {
			source = ts.MkAbs(source)
		}
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: target, Type: "bind", Source: source, Options: []string{"rbind"}})
	}
	shareNamespace(spec, specs.LinuxNamespaceType(*shares))
	ts.Check(addHooks(spec, hooks))
	for _, path := range fifos {
		// The numbers have no meaning, but some tools write them.
		spec.Linux.Devices = append(spec.Linux.Devices, specs.LinuxDevice{Path: path, Type: "p", Major: 8, Minor: 666})
	}
	if *more != "" {
		ts.Check(mergeSpec(spec, ts.ReadFile(*more)))
	}
	ts.Check(writeSpec(ts.MkAbs(flags.Arg(0)), spec))
}

// mergeSpec adds to the spec what the JSON contains.
func mergeSpec(spec *specs.Spec, more string) error {
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	var have, add map[string]any
	if err := errors.Join(json.Unmarshal(data, &have), json.Unmarshal([]byte(more), &add)); err != nil {
		return err
	}
	if data, err = json.Marshal(merged(have, add)); err != nil {
		return err
	}
	*spec = specs.Spec{}
	return json.Unmarshal(data, spec)
}

func merged(have, add any) any {
	switch add := add.(type) {
	case map[string]any:
		into, _ := have.(map[string]any)
		if into == nil {
			return add
		}
		for name, value := range add {
			into[name] = merged(into[name], value)
		}
		return into
	case []any:
		list, _ := have.([]any)
		return append(list, add...)
	}
	return add
}

// addHooks adds hooks given as NAME=SCRIPT.
func addHooks(spec *specs.Spec, hooks list) error {
	added := map[string][]specs.Hook{}
	for _, hook := range hooks {
		name, script, _ := strings.Cut(hook, "=")
		added[name] = append(added[name], specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}})
	}
	data, err := json.Marshal(added)
	if err != nil {
		return err
	}
	spec.Hooks = new(specs.Hooks)
	return json.Unmarshal(data, spec.Hooks)
}

// exampleSpec returns the config.json of the shared bundle.
func exampleSpec() (*specs.Spec, error) {
	data, err := os.ReadFile(filepath.Join(shared.bundle(), "config.json"))
	if err != nil {
		return nil, err
	}
	spec := new(specs.Spec)
	return spec, json.Unmarshal(data, spec)
}

func shareNamespace(spec *specs.Spec, shared specs.LinuxNamespaceType) {
	var namespaces []specs.LinuxNamespace
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type != shared {
			namespaces = append(namespaces, ns)
		}
	}
	spec.Linux.Namespaces = namespaces
}

func writeSpec(dir string, spec *specs.Spec) error {
	data, err := bundle.Marshal(spec)
	if err != nil {
		return err
	}
	data = []byte(bundle.DecodeBytes(string(data))) // raw bytes, as Slurm writes them
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}

// elf FILE MACHINE makes the beginning of a program for a kind of processor, given by its number in
// elf(5).
func cmdElf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: elf FILE MACHINE")
	}
	var machine uint16
	_, err := fmt.Sscan(args[1], &machine)
	ts.Check(err)
	header := make([]byte, 64)
	copy(header, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(header[16:], 2) // ET_EXEC
	binary.LittleEndian.PutUint16(header[18:], machine)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), header, 0o755))
}

// ocishim returns a call of the program under test.
func ocishim(args ...string) *exec.Cmd { return exec.Command(shared.program(), args...) }
