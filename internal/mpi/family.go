package mpi

import (
	"fmt"
	"path"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
)

// A Family is a group of MPIs that share a binary interface.
type Family string

// The families.
const (
	OpenMPI Family = "Open MPI"
	MPICH   Family = "MPICH"   // and those with its ABI: Intel MPI, Cray MPICH, MVAPICH
	ABI     Family = "MPI ABI" // the standard's own, of MPI 5
)

// A Library is an MPI library that was found.
type Library struct {
	Family  Family
	Soname  string
	Path    string // in the view, without symbolic links
	Version string // of its interface, from the name of its file: 12.4.1; empty if unknown
	PMI     PMI

	object *linker.Object
}

// String describes it for people.
func (l Library) String() string {
	if r := l.release(); r != "" {
		return fmt.Sprintf("%s %s (%s)", l.Family, r, path.Base(l.Path))
	}
	return fmt.Sprintf("%s (%s)", l.Family, path.Base(l.Path))
}

// identifyMPI reports whether the object is an MPI, and which. The result is kept,
// since it is often asked about the same object.
func identifyMPI(o *linker.Object) (Library, bool) {
	known := factsOf(o)
	if known.identity == nil {
		l := lookForMPI(o)
		known.identity = &l
	}
	return *known.identity, known.identity.Family != ""
}

// facts are what was found out about an object.
type facts struct {
	identity *Library // the result of identifyMPI
	opens    *bool    // whether it can open libraries, once known
}

func factsOf(o *linker.Object) *facts {
	known, ok := o.Facts.(*facts)
	if !ok {
		known = new(facts)
		o.Facts = known
	}
	return known
}

// lookForMPI looks at the symbols; without a Family it is not an MPI.
func lookForMPI(o *linker.Object) Library {
	if !isMPIName(o.Name()) || standsBefore(o.Name()) {
		return Library{}
	}
	const init, inner, ofOpenMPI = "MPI_Init", "PMPI_Init", "ompi_mpi_comm_world"
	found, err := o.In.Tree.Symbols(o.In.Path, init, inner, ofOpenMPI)
	if err != nil || !found[init] {
		return Library{}
	}
	if !found[inner] { // not an MPI: profilers define MPI_Init and call another library's
		if takes, err := o.In.Tree.Imports(o.In.Path, inner); err == nil && takes[inner] {
			return Library{}
		}
	}
	l := Library{Family: MPICH, Soname: o.Name(), Path: o.At, Version: versionIn(path.Base(o.At)), object: o}
	switch {
	case found[ofOpenMPI]:
		l.Family = OpenMPI
	case strings.HasPrefix(plainName(o.Name()), "libmpi_abi.so"):
		l.Family = ABI
	}
	return l
}

// isMPIName reports whether a library of that name may be an MPI.
func isMPIName(name string) bool { return strings.HasPrefix(name, "libmpi") }

// standsBefore recognises libraries that define the functions of an MPI and open the
// real one themselves.
func standsBefore(name string) bool {
	return strings.HasPrefix(name, "libmpitrampoline") || strings.HasPrefix(name, "libmpiwrapper")
}

// isMPIPart reports whether a library belongs to an MPI: parts of two MPIs do not fit
// together.
func isMPIPart(name string) bool {
	base, _, _ := strings.Cut(plainName(name), ".so")
	switch base {
	case "libopen-pal", "libopen-rte", "liboshmem", "libmpl", "libopa", "libmpi", "libmpich", "libmpifort", "libmpicxx",
		"libmpichcxx", "libmpichfort", "libmpichf90", "libmpi_cxx", "libmpi_mpifh", "libmpi_usempi", "libmpi_usempi_ignore_tkr",
		"libmpi_usempif08", "libmpi_abi", "libmpi_cray", "libmpifort_cray", "libmpi_mpich":
		return true
	}
	return false
}

// plainName returns the name of a library before it was packed into a Python wheel:
// auditwheel renames libmpi.so.12 to libmpi-1a2b3c4d.so.12.3.1, also in DT_SONAME.
func plainName(name string) string {
	base, version, ok := strings.Cut(name, ".so")
	dash := strings.LastIndexByte(base, '-')
	if !ok || dash < 0 || !isHash(base[dash+1:]) {
		return name
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "."), ".")
	if major == "" {
		return base[:dash] + ".so"
	}
	return base[:dash] + ".so." + major
}

// isHash recognises the digits that auditwheel takes from a hash: usually eight.
func isHash(text string) bool {
	const least, most = 8, 64
	return len(text) >= least && len(text) <= most && strings.Trim(text, "0123456789abcdef") == ""
}

// versionIn returns what follows .so. in a name.
func versionIn(file string) string {
	_, version, _ := strings.Cut(file, ".so.")
	if strings.Trim(version, "0123456789.") != "" || !strings.Contains(version, ".") {
		return ""
	}
	return version
}

// release returns the release series of an Open MPI: since 3.0 it counts interfaces in
// tens.
func (l Library) release() string {
	if l.Family != OpenMPI {
		return ""
	}
	numbers := strings.Split(l.Version, ".")
	if len(numbers) < 2 || numbers[0] != "40" {
		return ""
	}
	switch numbers[1] {
	case "0":
		return "3.0"
	case "10":
		return "3.1"
	case "20":
		return "4.0"
	case "30":
		return "4.1"
	case "40":
		return "5.0"
	}
	return ""
}

// compatible returns why a program that was linked with the image's MPI may not run
// with the site's; empty if it may.
func compatible(abi string, image, site Library) string {
	if image.Family != site.Family {
		return fmt.Sprintf("the program is for %s, and the site's %s is %s", image.Family, site.Path, site.Family)
	}
	own, ours := strings.Split(image.Version, "."), strings.Split(site.Version, ".")
	number := func(v []string, i int) string {
		if i < len(v) {
			return v[i]
		}
		return ""
	}
	said := fmt.Sprintf("the image's %s and the site's %s", path.Base(image.Path), path.Base(site.Path))
	unknown := image.Version == "" || site.Version == ""
	switch {
	case !unknown && number(own, 0) != number(ours, 0):
		return said + " have different interfaces"
	case abi == ABIMajor || abi == "":
		return ""
	case unknown:
		return said + fmt.Sprintf(": their file names lack the versions that abi = %q compares", abi)
	case abi == ABIStrict && image.Version != site.Version:
		return said + ` are not the same version, as abi = "strict" requires`
	case host.CompareVersions(number(own, 1), number(ours, 1)) > 0:
		return said + `: the image's is newer, and abi = "full" requires all of its interface`
	}
	return ""
}
