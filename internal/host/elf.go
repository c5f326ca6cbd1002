package host

import (
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Library is what the headers and the dynamic section of a shared library, or of
// a program, say.
type Library struct {
	Class   elf.Class
	Machine elf.Machine
	Type    elf.Type            // ET_DYN for libraries and most programs, else ET_EXEC
	Interp  string              // the loader that a program asks for, empty for static ones and most libraries
	Dynamic bool                // whether there is a dynamic section: static programs mostly have none
	Soname  string              // DT_SONAME, empty without
	Needed  []string            // DT_NEEDED
	RPath   []string            // DT_RPATH, as it stands there
	RunPath []string            // DT_RUNPATH, likewise
	Needs   map[string][]string // symbol versions it needs, by the library that has them
	Defines []string            // symbol versions it defines
}

// maxLibrary bounds libraries that are read, in bytes. The driver's largest have
// about a hundred megabytes.
const maxLibrary = 256 << 20

// Library reads the headers of a library.
func (t *Tree) Library(path string) (lib Library, err error) {
	err = t.withELF(path, func(e *elfFile) { lib = e.library() })
	return lib, err
}

// A Found is a library where it was found.
type Found struct {
	Library
	Path     string // in the view, without links
	Identity Identity
}

// FindLibrary is File, Identity and Library at once.
func (t *Tree) FindLibrary(path string) (Found, error) {
	var found Found
	h, err := t.handleFD(path)
	if err != nil {
		return found, err
	}
	defer unix.Close(h)
	var st unix.Stat_t
	if err := unix.Fstat(h, &st); err != nil {
		return found, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return found, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	}
	found.Identity = identity(&st)
	if found.Path, err = t.inside(h, path); err != nil {
		return found, err
	}
	if st.Size > maxLibrary {
		return found, fmt.Errorf("read library %s: %w", path, ErrTooLarge)
	}
	f, err := unix.Open("/proc/self/fd/"+strconv.Itoa(h), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return found, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(f)
	e, err := newELF(descriptor(f), st.Size)
	if err != nil {
		return found, fmt.Errorf("read library %s: %w", path, err)
	}
	found.Library = e.library()
	e.release()
	return found, nil
}

// A descriptor is an open file without what os.File adds: a program has a hundred
// libraries, and each is open for a moment.
type descriptor int

// ReadAt is that of io.ReaderAt.
func (d descriptor) ReadAt(data []byte, at int64) (int, error) { return unix.Pread(int(d), data, at) }

// Symbols tells which of the names a library defines for others.
func (t *Tree) Symbols(path string, names ...string) (defined map[string]bool, err error) {
	err = t.withELF(path, func(e *elfFile) { defined = e.defined(names) })
	return defined, err
}

// Imports tells which of the names a program or library takes from others.
func (t *Tree) Imports(path string, names ...string) (imported map[string]bool, err error) {
	err = t.withELF(path, func(e *elfFile) { imported = e.imported(names) })
	return imported, err
}

// Contains tells which of the names are symbols of a static program, if it has kept its
// table of them.
func (t *Tree) Contains(path string, names ...string) (has map[string]bool, err error) {
	err = t.withELF(path, func(e *elfFile) { has = e.contained(names) })
	return has, err
}

func (t *Tree) withELF(path string, read func(*elfFile)) error {
	f, err := t.OpenFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	e, err := readELF(f)
	if err != nil {
		return fmt.Errorf("read library %s: %w", path, err)
	}
	read(e)
	e.release()
	return nil
}

// readELF bounds what is read.
func readELF(f *os.File) (*elfFile, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxLibrary {
		return nil, ErrTooLarge
	}
	return newELF(f, info.Size())
}

// library reads the dynamic section and the versions of symbols.
func (e *elfFile) library() Library {
	lib := Library{Class: e.class, Machine: e.machine, Type: e.kind, Interp: e.interp()}
	at := e.index(elf.SHT_DYNAMIC)
	if at < 0 {
		return lib
	}
	lib.Dynamic = true
	dynamic, names := e.data(at), int(e.sections[at].link)
	const size = 16 // of Elf64_Dyn
	for ; len(dynamic) >= size; dynamic = dynamic[size:] {
		tag, value := elf.DynTag(e.order.Uint64(dynamic)), ""
		switch tag {
		case elf.DT_SONAME, elf.DT_NEEDED, elf.DT_RPATH, elf.DT_RUNPATH:
			value = e.name(names, e.order.Uint64(dynamic[8:]))
		}
		switch tag {
		case elf.DT_NULL:
			dynamic = dynamic[:size]
		case elf.DT_SONAME:
			lib.Soname = value
		case elf.DT_NEEDED:
			lib.Needed = append(lib.Needed, value)
		case elf.DT_RPATH:
			lib.RPath = append(lib.RPath, strings.Split(value, ":")...)
		case elf.DT_RUNPATH:
			lib.RunPath = append(lib.RunPath, strings.Split(value, ":")...)
		}
	}
	lib.Needs = e.versionNeeds()
	lib.Defines = e.versionsDefined()
	return lib
}

// versionNeeds reads the section of Elf64_Verneed and Elf64_Vernaux: records that name
// the next one by its distance.
func (e *elfFile) versionNeeds() map[string][]string {
	needs := map[string][]string{}
	r := e.records(elf.SHT_GNU_VERNEED)
	for at, next := 0, 1; next != 0; at += next {
		count, file, aux := r.uint16(at+2), r.text(at+4), at+r.uint32(at+8)
		for range count {
			if r.bad() {
				return needs
			}
			needs[file] = append(needs[file], r.text(aux+8))
			aux += r.uint32(aux + 12)
		}
		next = r.uint32(at + 12)
	}
	return needs
}

// versionsDefined reads the section of Elf64_Verdef: the first name of each.
func (e *elfFile) versionsDefined() []string {
	var defined []string
	r := e.records(elf.SHT_GNU_VERDEF)
	for at, next := 0, len(r.data); next != 0; at += next {
		name := r.text(at + r.uint32(at+12))
		next = r.uint32(at + 16)
		if r.bad() {
			break
		}
		defined = append(defined, name)
	}
	return defined
}

// interp is what PT_INTERP names.
func (e *elfFile) interp() string {
	const size, most = 56, 64 // of Elf64_Phdr, and how many
	for i := range min(e.programs, most) {
		header := e.read(e.programAt+uint64(i)*size, size)
		if header == nil || elf.ProgType(e.order.Uint32(header)) != elf.PT_INTERP {
			continue
		}
		return text(e.read(e.order.Uint64(header[8:]), min(e.order.Uint64(header[32:]), maxPath)), 0)
	}
	return ""
}

const maxPath = 4096

// readAt reads what may end early.
func readAt(f io.ReaderAt, data []byte, at int64) int {
	n, _ := f.ReadAt(data, at)
	return n
}
