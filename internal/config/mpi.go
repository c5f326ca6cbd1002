package config

import (
	"fmt"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// MPI is a profile: how the site's MPI replaces an image's. The meaning of each value
// is documented only in settings.
type MPI struct {
	Name string `json:"name"`

	When      []string `json:"when"`
	Replace   []string `json:"replace"`
	Closure   []string `json:"closure"`
	ABI       string   `json:"abi"`
	Prefix    string   `json:"prefix"`
	Bind      []string `json:"bind"`
	Devices   []string `json:"devices"`
	Set       []string `json:"env.set"`
	Prepend   []string `json:"env.prepend"`
	Conflicts []string `json:"conflicts"`
	Fabric    []string `json:"fabric"`
	Require   []string `json:"require"`
	Mismatch  string   `json:"mismatch"`
}

// fabricNames returns the names that internal/mpi knows.
func fabricNames() []string {
	return []string{"verbs", "efa", "cxi", "libfabric", "ucx", "psm2", "xpmem", "knem", "gdrcopy"}
}

func newMPI(name string) MPI {
	none := func() []string { return []string{} }
	return MPI{
		Name: name, When: none(), Replace: none(), Closure: none(), ABI: "major", Bind: none(), Devices: none(), Set: none(),
		Prepend: none(), Conflicts: none(), Fabric: none(), Require: none(), Mismatch: "refuse",
	}
}

func (m *MPI) settings() []setting {
	return []setting{
		{
			key: "when", value: &m.When, check: checkLibrary,
			doc: `Names by which programs load the MPI that is replaced, as in
DT_NEEDED, such as libmpi.so.12. By default, the DT_SONAME of the
first library of replace. A program gets the first profile that has the
name of its MPI, and is of the same family.`,
		},
		{
			key: "replace", value: &m.Replace, check: checkPath,
			doc: `The site's libraries, by their paths on the host. Each covers every
file of that name in the image; the first one that is an MPI also
covers the names in ` + "`when`" + `. It must be set.`,
		},
		{
			key: "closure", value: &m.Closure, check: checkPath,
			doc: `Directories of the host that are searched for the libraries that
replace needs, before those of the host's loader. The container gets
these libraries as well, except glibc's.`,
		},
		{
			key: "abi", value: &m.ABI, choices: []string{"major", "full", "strict"},
			doc: `How closely the site's MPI must match the image's, by the numbers in
the file names, as in libmpi.so.12.4.1: the first number is the same;
also the second is not less than the image's; or all are the same.`,
		},
		{
			key: "prefix", value: &m.Prefix, check: checkPrefix,
			doc: `The directory that Open MPI was configured with: the container gets all
of it, and OPAL_PREFIX names it. Without it, Open MPI finds neither its
plugins nor its help texts.`,
		},
		{
			key: "bind", value: &m.Bind, check: checkPath,
			doc: `Further files and directories, read-only at the same path. Those that
the host lacks are left out.`,
		},
		{
			key: "devices", value: &m.Devices, check: checkPath,
			doc: `Device nodes, as patterns such as /dev/cxi*, for containers without the
host's /dev. Those that exist are given.`,
		},
		{
			key: "env.set", value: &m.Set, check: checkVariable,
			doc: `Variables, each "NAME=value", that override the container's own.`,
		},
		{
			key: "env.prepend", value: &m.Prepend, check: checkVariable,
			doc: `Elements, each "NAME=element", to put at the front of a variable that
holds a list separated by colons.`,
		},
		{
			key: "conflicts", value: &m.Conflicts, check: checkLibrary,
			doc: `Names of libraries, with or without what follows .so. A program that
loads one of them does not get this profile.`,
		},
		{
			key: "fabric", value: &m.Fabric, choices: fabricNames(),
			doc: `What the MPI uses to reach other processes. Containers get its libraries
and plugins, if the host has them, and the variables that name them.`,
		},
		{
			key: "require", value: &m.Require, choices: fabricNames(),
			doc: `As fabric, but a task does not start on a host that lacks the device or
a library, or if the task may not use the device.`,
		},
		{
			key: "mismatch", value: &m.Mismatch, choices: []string{"refuse", "own"},
			doc: `What happens to a program that this MPI does not fit: it is refused, with
the reason, or it runs with the image's own MPI, with a warning. Programs
that are not linked with an MPI are never refused.`,
		},
	}
}

func checkPrefix(path string) error {
	if path == "" { // as by default
		return nil
	}
	return checkPath(path)
}

// checkLibrary requires a file name.
func checkLibrary(name string) error {
	if name == "" || strings.Contains(name, "/") || !text.Fits(name) {
		return fmt.Errorf("expected the name of a library, such as libmpi.so.12, not %s", text.Quoted(name))
	}
	return nil
}

func checkVariable(entry string) error {
	name, _, found := strings.Cut(entry, "=")
	if !found || name == "" || !text.Fits(entry) {
		return fmt.Errorf("expected NAME=value in printable characters, not %s", text.Quoted(entry))
	}
	return nil
}
