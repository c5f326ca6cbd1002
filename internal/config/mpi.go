package config

import (
	"fmt"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// MPI is a profile: how the site's MPI takes the place of an image's. What each value
// means is said once, in settings.
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

// fabricNames are those that internal/mpi knows.
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
			doc: `Names by which programs ask for the MPI that is replaced, as
DT_NEEDED has them, such as libmpi.so.12. Without any: the DT_SONAME
of the first of replace. The first profile that has the name of a
program's MPI, and is of the same family, is the program's.`,
		},
		{
			key: "replace", value: &m.Replace, check: checkPath,
			doc: `The site's libraries, by their paths on the node. Each goes over
every file that the image has under its name; the first that is an
MPI goes over the names in ` + "`when`" + `, too. It must be set.`,
		},
		{
			key: "closure", value: &m.Closure, check: checkPath,
			doc: `Directories of the node in which the libraries that those need are
looked for first; then where the node's loader would. They are given
with them, but for those of glibc.`,
		},
		{
			key: "abi", value: &m.ABI, choices: []string{"major", "full", "strict"},
			doc: `How near the site's MPI must be to the image's, by the numbers in the
names of their files, as in libmpi.so.12.4.1: the first is the same;
the second is no less than the image's, too; or all are the same.`,
		},
		{
			key: "prefix", value: &m.Prefix, check: checkPrefix,
			doc: `The directory that Open MPI was configured with: it is in the container
as a whole, and OPAL_PREFIX leads there. Without it Open MPI finds no
plugins and no texts.`,
		},
		{
			key: "bind", value: &m.Bind, check: checkPath,
			doc: `Further files and directories, read-only at their own paths. Those that
the node lacks are left out.`,
		},
		{
			key: "devices", value: &m.Devices, check: checkPath,
			doc: `Device nodes, as patterns such as /dev/cxi*: for those of them that are
there, where a container does not have all of the node's /dev.`,
		},
		{
			key: "env.set", value: &m.Set, check: checkVariable,
			doc: `Variables, each "NAME=value", over the container's own.`,
		},
		{
			key: "env.prepend", value: &m.Prepend, check: checkVariable,
			doc: `Elements, each "NAME=element", that go before those of a variable that
holds a list separated by colons.`,
		},
		{
			key: "conflicts", value: &m.Conflicts, check: checkLibrary,
			doc: `Names of libraries, with or without what follows .so. A program that
loads one of them is none of this profile's.`,
		},
		{
			key: "fabric", value: &m.Fabric, choices: fabricNames(),
			doc: `What the MPI uses to reach other processes. Libraries, plugins and the
variables that lead to them are given where the node has them.`,
		},
		{
			key: "require", value: &m.Require, choices: fabricNames(),
			doc: `As fabric; but a task is not started on a node on which the device or a
library is missing, or that the task may not use.`,
		},
		{
			key: "mismatch", value: &m.Mismatch, choices: []string{"refuse", "own"},
			doc: `What becomes of a program that this MPI does not fit: it is refused, with
the reason, or it runs with the image's own MPI, and a warning. Programs
that are not linked with an MPI themselves are not refused.`,
		},
	}
}

func checkPrefix(path string) error {
	if path == "" { // as by default
		return nil
	}
	return checkPath(path)
}

// checkLibrary wants the name of a file.
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
