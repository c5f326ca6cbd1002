package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/request"
)

// wishFlags are the options of run-image that set keys of a request, and those that are like them. The
// option for devices is one of all launches.
func wishFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "env-file", Usage: "set the variables in `FILE`, a line NAME[=VALUE] each"},
		&cli.StringSliceFlag{Name: "annotation", Usage: "give the container the annotation `NAME=VALUE`, such as org.ocishim.mpi=own"},
		pullFlag(),
		pyxisFlag(),
	}
	for _, k := range request.Keys() {
		if k.OptionName() != "device" {
			flags = append(flags, wishFlag(k))
		}
	}
	return flags
}

// wishFlag is the option for a key, in the words of the table.
func wishFlag(k request.Key) cli.Flag {
	var aliases []string
	if k.Short != "" {
		aliases = []string{k.Short}
	}
	usage := "`" + k.Values + "`: " + k.Doc
	switch k.Form {
	case request.List:
		return &cli.StringSliceFlag{Name: k.OptionName(), Aliases: aliases, Usage: usage}
	case request.Switch:
		return &cli.BoolFlag{Name: k.OptionName(), Aliases: aliases, Usage: k.Doc}
	case request.SwitchOrText:
		return optionalFlag{&cli.GenericFlag{Name: k.OptionName(), Aliases: aliases, Value: new(optionalValueOf), Usage: usage}}
	}
	return &cli.StringFlag{Name: k.OptionName(), Aliases: aliases, Usage: usage}
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
	for _, k := range request.Keys() {
		option := k.OptionName()
		if !c.IsSet(option) || option == "device" {
			continue
		}
		values := []string{fmt.Sprint(c.Value(option))}
		if k.Form == request.List {
			values = c.StringSlice(option)
		}
		if err := r.Set(k.Name, values, "--"+option); err != nil {
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
