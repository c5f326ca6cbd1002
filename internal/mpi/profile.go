package mpi

// A Profile is how a site's MPI replaces an image's. Paths are the host's.
type Profile struct {
	Name string // as in the configuration, mpi.NAME

	// When are the names by which programs load the replaced library, such as
	// libmpi.so.12. Empty: the DT_SONAME of the first of Replace.
	When []string

	// Replace are the site's libraries that go over the image's of the same name; the
	// first one that defines MPI_Init is the MPI.
	Replace []string

	// Closure are directories that are searched for what Replace needs, before those of
	// the host's loader.
	Closure []string

	ABI string // ABIMajor, ABIFull or ABIStrict

	// Prefix is the directory that Open MPI was configured with; empty for none.
	Prefix string

	Bind    []string // files and directories that are mounted at the same path
	Devices []string // patterns of device nodes; those that exist are given
	Set     []string // NAME=value
	Prepend []string // NAME=element, in their order

	Conflicts []string // names of libraries; a program that loads one keeps its own MPI
	Fabric    []string // names of fabrics whose libraries and plugins are given
	Require   []string // fabrics without which a task is refused

	Mismatch string // MismatchRefuse or MismatchOwn
}

// How closely the site's MPI must match the image's, by the numbers in their file
// names, which libtool assigns: libmpi.so.12.4.1 has the interfaces 12.0 to 12.4.
const (
	ABIMajor  = "major"  // the first number is the same
	ABIFull   = "full"   // and the second is not less than the image's
	ABIStrict = "strict" // all are the same
)

// What happens to a program that the site's MPI does not fit.
const (
	MismatchRefuse = "refuse" // it does not start
	MismatchOwn    = "own"    // it runs with the image's own
)
