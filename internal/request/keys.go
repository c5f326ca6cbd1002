package request

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// A Key is a wish that a user can write in several places: in an environment file by its name, as
// the annotation org.ocishim.NAME, as the variable OCISHIM_NAME of the job, and as an option of
// run-image. This table is all that those places know of it.
type Key struct {
	Name string

	// Option is the option of run-image, without its hyphens, and Short one letter for it; empty for
	// the name, and for none.
	Option, Short string

	// Synonym is a variable of pyxis with the same meaning, and Opposite one that says true for
	// false; empty for none.
	Synonym, Opposite string

	// Form says how the value is written.
	Form Form

	// Values shows for people what a value looks like, and Doc says what it does.
	Values, Doc string

	add func(r *Request, values []string, by string) error
}

// A Form says how the value of a key is written in an environment file, and in the one string of a
// variable or an annotation.
type Form int

// The forms.
const (
	// Text is a string.
	Text Form = iota

	// Switch is true or false, in an environment file without quotes. Elsewhere yes, y and 1, and
	// no, n and 0 stand for them.
	Switch

	// List is an array of strings, in one string with commas between them. A comma behind a
	// backslash is part of a value.
	List

	// SwitchOrText is a switch, or a string that says more than true.
	SwitchOrText
)

// Keys are all keys, in the order in which help and documentation list them.
func Keys() []Key {
	return []Key{
		{
			Name: "mounts", Option: "mount", Short: "m", Synonym: "PYXIS_CONTAINER_MOUNTS", Form: List, add: (*Request).addMounts,
			Values: "SOURCE[:DESTINATION[:FLAG+FLAG...]]",
			Doc:    "mount a directory or file of the host, or tmpfs, at DESTINATION; umount:DESTINATION takes a mount away",
		},
		{
			Name: "env", Short: "e", Synonym: "PYXIS_CONTAINER_ENV", Form: List, add: (*Request).passVariables,
			Values: "NAME[=VALUE]",
			Doc:    "set a variable, or let the job's value win over the image's",
		},
		{
			Name: "no_env", Form: List, add: (*Request).hideVariables,
			Values: "PATTERN",
			Doc:    "do not take the job's variables that match from the job",
		},
		{
			Name: "workdir", Short: "w", Synonym: "PYXIS_CONTAINER_WORKDIR", add: one((*Request).setWorkdir),
			Values: "DIRECTORY",
			Doc:    "the directory in the container in which the command starts",
		},
		{
			Name: "home", Synonym: "PYXIS_CONTAINER_MOUNT_HOME", Form: Switch, add: one((*Request).setHome),
			Values: "true or false",
			Doc:    "whether the user's home is in the container",
		},
		{
			Name: "entrypoint", Synonym: "PYXIS_CONTAINER_ENTRYPOINT", Form: Switch, add: one((*Request).setEntrypoint),
			Values: "true or false",
			Doc:    "whether a command is run by the image's ENTRYPOINT",
		},
		{
			Name: "remap_root", Option: "root", Short: "r", Synonym: "PYXIS_CONTAINER_REMAP_ROOT", Form: SwitchOrText, add: one((*Request).setRemapRoot),
			Values: "true, false or force",
			Doc:    "whether the command is root in the container; force also in a step whose MPI breaks then",
		},
		{
			Name: "unshare", Synonym: "PYXIS_CONTAINER_UNSHARE", Form: List, add: (*Request).addUnshare,
			Values: "net, ipc, uts or pid",
			Doc:    "give the container a network, IPC objects, a host name or process ids of its own",
		},
		{
			Name: "devices", Option: "device", Form: List, add: (*Request).addDevices,
			Values: "VENDOR/CLASS=NAME or /dev/PATH",
			Doc:    "give the container a CDI device, or a device node of the host that the task may use",
		},
		{
			Name: "writable", Synonym: "PYXIS_CONTAINER_WRITABLE", Opposite: "PYXIS_CONTAINER_READONLY",
			Form: SwitchOrText, add: one((*Request).setWritable),
			Values: "true, false, tmpfs[:SIZE] or disk",
			Doc:    "whether the image's files can be changed, for this task only: in memory (true, tmpfs) or on the host's disk",
		},
		{
			Name: "save", Synonym: "PYXIS_CONTAINER_SAVE", add: one((*Request).setSave),
			Values: "FILE",
			Doc:    "when the command has ended, write the image with its changes to a squashfs file, or an OCI archive if FILE ends in .tar",
		},
	}
}

// OptionName is the option of run-image that sets the key, without its hyphens.
func (k Key) OptionName() string { return cmp.Or(k.Option, strings.ReplaceAll(k.Name, "_", "-")) }

// Variable is the variable of the job that sets the key.
func (k Key) Variable() string { return variablePrefix + strings.ToUpper(k.Name) }

// keyNames returns the names of all keys.
func keyNames() []string {
	var names []string
	for _, k := range Keys() {
		names = append(names, k.Name)
	}
	return names
}

// Set adds the values of a key; by says who wrote them.
func (r *Request) Set(name string, values []string, by string) error {
	for _, k := range Keys() {
		if k.Name != name {
			continue
		}
		if len(values) > 1 && k.Form != List {
			return fmt.Errorf("%s: %d values, and there can be one", by, len(values))
		}
		return k.add(r, values, by)
	}
	return fmt.Errorf("%s: unknown key %s", by, text.Quoted(name))
}

// SetText adds the value of a key, written as in a variable; by says who wrote it.
func (r *Request) SetText(name, value, by string) error {
	for _, k := range Keys() {
		if k.Name == name {
			return r.setText(k, value, by)
		}
	}
	return fmt.Errorf("%s: unknown key %s", by, text.Quoted(name))
}

// setText adds a key's values from one string.
func (r *Request) setText(k Key, value, by string) error {
	if value == "" {
		return nil
	}
	values := []string{value}
	if k.Form == List {
		values = slices.DeleteFunc(splitEscaped(value, ','), func(item string) bool { return item == "" })
	}
	return k.add(r, values, by)
}

func one(set func(r *Request, value, by string) error) func(*Request, []string, string) error {
	return func(r *Request, values []string, by string) error {
		for _, value := range values {
			if err := set(r, value, by); err != nil {
				return err
			}
		}
		return nil
	}
}

func (r *Request) passVariables(values []string, by string) error {
	for _, value := range values {
		v, err := ParseVariable(value, by)
		if err != nil {
			return err
		}
		r.AddVariables(v)
	}
	return nil
}

// hideVariables keeps the patterns, in which * stands for any characters, for those of the job's
// variables that the container does not get.
func (r *Request) hideVariables(values []string, by string) error {
	for _, value := range values {
		if strings.ContainsAny(value, "= \n\x00") {
			return fmt.Errorf("%s: %s is not a pattern for names of variables", by, text.Quoted(value))
		}
		r.NoEnv = append(r.NoEnv, Choice{value, by})
	}
	return nil
}

func (r *Request) setWorkdir(value, by string) error {
	if !strings.HasPrefix(value, "/") || strings.ContainsAny(value, "\x00\n") {
		return fmt.Errorf("%s: %s is not an absolute path", by, text.Quoted(value))
	}
	r.ContainerWorkdir = Choice{value, by}
	return nil
}

var errTruth = errors.New("expected true or false")

// truth reads what pyxis and TOML users write for a boolean.
func truth(value, by string) (Choice, error) {
	switch strings.ToLower(value) {
	case "true", "1", "yes", "y":
		return Choice{"true", by}, nil
	case "false", "0", "no", "n":
		return Choice{"false", by}, nil
	}
	return Choice{}, fmt.Errorf("%s: %w, not %s", by, errTruth, text.Quoted(value))
}

func (r *Request) setHome(value, by string) (err error) {
	r.Home, err = truth(value, by)
	return err
}

func (r *Request) setEntrypoint(value, by string) (err error) {
	r.Entrypoint, err = truth(value, by)
	return err
}
