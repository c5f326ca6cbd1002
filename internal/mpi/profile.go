package mpi

// A Profile is how a site's MPI takes the place of an image's. Paths are the node's.
type Profile struct {
	Name string // as in the configuration, mpi.NAME

	// When are the names by which programs ask for the library that is replaced, such
	// as libmpi.so.12. Empty: the DT_SONAME of the first of Replace.
	When []string

	// Replace are the site's libraries that go over the image's of the same name; the
	// first that defines MPI_Init is the MPI.
	Replace []string

	// Closure are directories in which what Replace needs is looked for before the
	// node's loader is followed.
	Closure []string

	ABI string // ABIMajor, ABIFull or ABIStrict

	// Prefix is the directory that Open MPI was configured with; empty for none.
	Prefix string

	Bind    []string // files and directories that are bound at their own paths
	Devices []string // patterns of device nodes, for those of them that are there
	Set     []string // NAME=value
	Prepend []string // NAME=element, in their order

	Conflicts []string // names of libraries; who loads one of them keeps its own MPI
	Fabric    []string // names in fabrics whose libraries and plugins are given
	Require   []string // those without which a task is not to begin

	Mismatch string // MismatchRefuse or MismatchOwn
}

// How near the site's MPI must be to the image's, by the numbers in the names of their
// files, which libtool makes: libmpi.so.12.4.1 has the interface of every 12.0 to 12.4.
const (
	ABIMajor  = "major"  // the first number is the same
	ABIFull   = "full"   // and the second no less than the image's
	ABIStrict = "strict" // all are the same
)

// What becomes of a program that the site's MPI does not fit.
const (
	MismatchRefuse = "refuse" // it is not started
	MismatchOwn    = "own"    // it runs with the image's own
)
