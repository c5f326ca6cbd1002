package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/request"
)

// wishFlags are the options of run-image that set keys of a request.
func wishFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "mount", Aliases: []string{"m"}, Usage: "mount `SOURCE[:DESTINATION[:FLAG+FLAG]]` of the host, tmpfs:DESTINATION[:size=N], or umount:DESTINATION"},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME[=VALUE]`; without a value, the job's wins over the image's"},
		&cli.StringSliceFlag{Name: "env-file", Usage: "set the variables in `FILE`, a line NAME[=VALUE] each"},
		&cli.StringSliceFlag{Name: "no-env", Usage: "do not take the job's variables that match `PATTERN`"},
		&cli.StringFlag{Name: "workdir", Aliases: []string{"w"}, Usage: "start in `DIRECTORY` of the container"},
		&cli.BoolFlag{Name: "home", Usage: "mount the user's home; --home=false does not", DefaultText: "hpc.home"},
		&cli.BoolFlag{Name: "entrypoint", Usage: "run the COMMAND by the image's ENTRYPOINT"},
		optionalFlag{&cli.GenericFlag{Name: "root", Aliases: []string{"r"}, Value: new(optionalValueOf), Usage: "be root in the image, to install packages; --root=force also in a step whose MPI breaks then"}},
		&cli.StringSliceFlag{Name: "unshare", Usage: "give the container `NAMESPACES` of its own: net, ipc, uts, pid"},
		optionalFlag{&cli.GenericFlag{Name: "writable", Value: new(optionalValueOf), Usage: "let the image's files be changed for this task: --writable or =tmpfs[:SIZE] in memory, =disk on the host's disk, =false not", DefaultText: "image.writable"}},
		pullFlag(),
		pyxisFlag(),
		&cli.StringSliceFlag{Name: "annotation", Usage: "give the container the annotation `NAME=VALUE`, such as org.ocishim.mpi=own"},
	}
}

// An optionalFlag is one with a value that can be left out: --NAME means --NAME=true.
type optionalFlag struct{ *cli.GenericFlag }

// TakesValue says that no argument of its own is the value.
func (optionalFlag) TakesValue() bool { return false }

type optionalValueOf string

func (v *optionalValueOf) Set(value string) error { *v = optionalValueOf(value); return nil }
func (v *optionalValueOf) String() string         { return string(*v) }
func (v *optionalValueOf) IsBoolFlag() bool       { return true }
func (v *optionalValueOf) Get() any               { return string(*v) }

// readOptions adds what the options say to the request. --env wins over --env-file.
func readOptions(c *cli.Context, r *request.Request) error {
	if c.Command.Name != "run-image" {
		return nil
	}
	if err := readPyxis(c, r); err != nil {
		return err
	}
	for _, file := range c.StringSlice("env-file") {
		if err := readEnvFile(r, file); err != nil {
			return fmt.Errorf("--env-file: %w", err)
		}
	}
	for key, option := range map[string]string{"mounts": "mount", "no_env": "no-env", "env": "env", "unshare": "unshare"} {
		if values := c.StringSlice(option); len(values) > 0 {
			if err := r.Set(key, values, "--"+option); err != nil {
				return usageError{err}
			}
		}
	}
	for key, option := range map[string]string{"workdir": "workdir", "home": "home", "entrypoint": "entrypoint", "writable": "writable", "remap_root": "root"} {
		if !c.IsSet(option) {
			continue
		}
		if err := r.Set(key, []string{fmt.Sprint(c.Value(option))}, "--"+option); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// annotate adds --annotation to the annotations of an environment.
func annotate(c *cli.Context, annotations map[string]string) (map[string]string, error) {
	for _, given := range c.StringSlice("annotation") {
		name, value, found := strings.Cut(given, "=")
		if name == "" || !found || strings.ContainsRune(given, 0) {
			return nil, usageError{fmt.Errorf("--annotation: %s is not NAME=VALUE", strconv.Quote(given))}
		}
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[name] = value
	}
	return annotations, nil
}

// maxEnvFile is how large a file of variables may be, in bytes.
const maxEnvFile = 1 << 20

// readEnvFile adds the variables of a file.
func readEnvFile(r *request.Request, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxEnvFile {
		return fmt.Errorf("%s: not a file of at most 1 MiB", strconv.Quote(file))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	variables, err := request.ParseEnvFile(string(data), file)
	if err != nil {
		return err
	}
	r.AddVariables(variables...)
	return nil
}
