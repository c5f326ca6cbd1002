package host

import (
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Library holds what the headers and the dynamic section of a shared library or
// program say.
type Library struct {
	Class   elf.Class
	Machine elf.Machine
	Type    elf.Type // ET_DYN for libraries and most programs, otherwise ET_EXEC
	Interp  string   // the loader that a program requests; empty for static programs and most libraries
	Dynamic bool     // there is a dynamic section: static programs mostly have none
	Soname  string   // DT_SONAME, empty if missing
	Needed  []string // DT_NEEDED
	RPath   []string // DT_RPATH, unchanged
	RunPath []string // DT_RUNPATH, unchanged
	Needs   []VersionNeed
	Defines []string // symbol versions it defines

	NoDefaultLib bool // DF_1_NODEFLIB: the usual directories are not searched for its dependencies
}

// A VersionNeed lists the symbol versions that are needed of a library.
type VersionNeed struct {
	File     string // its name, as in DT_NEEDED
	Versions []string
}

// maxLibrary bounds the size of a library, in bytes. The driver's largest have about a
// hundred megabytes.
const maxLibrary = 256 << 20

// Library reads the headers of a library.
func (t *Tree) Library(path string) (lib Library, err error) {
	err = t.withELF(path, func(e *elfFile) { lib = e.library() })
	return lib, err
}

// A Found is a library and where it was found.
type Found struct {
	Library
	Path     string // in the view, without links
	Identity Identity
}

// FindLibrary is File, Identity and Library in one call.
func (t *Tree) FindLibrary(path string) (found Found, err error) {
	err = t.withHandle(path, func(h *handle) error {
		inside, err := t.inside(h.fd, path)
		if err != nil {
			return err
		}
		found, err = h.found(inside)
		return err
	})
	return found, err
}

// A handle is an open file that has been checked.
type handle struct {
	fd       int
	readable bool // otherwise opened with O_PATH
	st       unix.Stat_t
}

// found reads the library, if the file is a regular one.
func (h *handle) found(path string) (found Found, err error) {
	if h.st.Mode&unix.S_IFMT == unix.S_IFREG {
		found = Found{Path: path, Identity: identity(&h.st)}
	}
	err = h.withELF(path, func(e *elfFile) { found.Library = e.library() })
	return found, err
}

func (h *handle) withELF(path string, read func(*elfFile)) error {
	switch {
	case h.st.Mode&unix.S_IFMT != unix.S_IFREG:
		return &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	case h.st.Size > maxLibrary:
		return fmt.Errorf("read library %s: %w", path, ErrTooLarge)
	}
	f := h.fd
	if !h.readable {
		var err error
		if f, err = unix.Open("/proc/self/fd/"+strconv.Itoa(h.fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return &fs.PathError{Op: "open", Path: path, Err: err}
		}
		defer unix.Close(f)
	}
	e, err := newELF(descriptor(f), h.st.Size)
	if err != nil {
		return fmt.Errorf("read library %s: %w", path, err)
	}
	read(e)
	e.release()
	return nil
}

// A descriptor is an open file without the overhead of os.File: a program has a hundred
// libraries, and each is open only for a moment.
type descriptor int

// ReadAt implements io.ReaderAt.
func (d descriptor) ReadAt(data []byte, at int64) (int, error) { return unix.Pread(int(d), data, at) }

// Symbols reports which of the names a library defines for others.
func (t *Tree) Symbols(path string, names ...string) (defined map[string]bool, err error) {
	err = t.withELF(path, func(e *elfFile) { defined = e.defined(names) })
	return defined, err
}

// Imports reports which of the names a program or library imports.
func (t *Tree) Imports(path string, names ...string) (imported map[string]bool, err error) {
	err = t.withELF(path, func(e *elfFile) { imported = e.imported(names) })
	return imported, err
}

// Contains reports which of the names are symbols of a static program, if it still has
// its symbol table.
func (t *Tree) Contains(path string, names ...string) (has map[string]bool, err error) {
	err = t.withELF(path, func(e *elfFile) { has = e.contained(names) })
	return has, err
}

// Texts lists constants of a program or library that contain a word, such as the names
// of libraries that it opens. Sections larger than 16 MiB are skipped.
func (t *Tree) Texts(path, word string) (texts []string) {
	_ = t.withELF(path, func(e *elfFile) { texts = e.texts(word) })
	return texts
}

func (t *Tree) withELF(path string, read func(*elfFile)) error {
	return t.withHandle(path, func(h *handle) error { return h.withELF(path, read) })
}

// withHandle opens a path like handleFD.
func (t *Tree) withHandle(path string, use func(*handle) error) error {
	fd, err := t.handleFD(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	h := handle{fd: fd}
	if err := unix.Fstat(fd, &h.st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return use(&h)
}

// library reads the dynamic section and the symbol versions, as the loader does.
func (e *elfFile) library() Library {
	lib := Library{Class: e.class, Machine: e.machine, Type: e.kind, Interp: e.interp()}
	dynamic := e.segment(elf.PT_DYNAMIC, mostSection)
	if len(dynamic) == 0 { // such as files with debug information
		return lib
	}
	lib.Dynamic = true
	names, needed := e.stringsOf(dynamic)
	lib.Needed = make([]string, 0, needed)
	for ; len(dynamic) >= dynamicSize; dynamic = dynamic[dynamicSize:] {
		value := e.order.Uint64(dynamic[8:])
		switch elf.DynTag(e.order.Uint64(dynamic)) {
		case elf.DT_NULL:
			dynamic = dynamic[:dynamicSize]
		case elf.DT_SONAME:
			lib.Soname = e.name(names, value)
		case elf.DT_NEEDED:
			lib.Needed = append(lib.Needed, e.name(names, value))
		case elf.DT_RPATH:
			lib.RPath = append(lib.RPath, strings.Split(e.name(names, value), ":")...)
		case elf.DT_RUNPATH:
			lib.RunPath = append(lib.RunPath, strings.Split(e.name(names, value), ":")...)
		case elf.DT_FLAGS_1:
			lib.NoDefaultLib = elf.DynFlag1(value)&elf.DF_1_NODEFLIB != 0
		case elf.DT_VERNEED:
			lib.Needs = e.versionNeeds(e.loaded(value), names)
		case elf.DT_VERDEF:
			lib.Defines = e.versionsDefined(e.loaded(value), names)
		}
	}
	return lib
}

const dynamicSize = 16 // of Elf64_Dyn

// stringsOf returns the string table of a dynamic section, and the number of libraries
// that it needs.
func (e *elfFile) stringsOf(dynamic []byte) (names stringTable, needed int) {
	for ; len(dynamic) >= dynamicSize; dynamic = dynamic[dynamicSize:] {
		switch elf.DynTag(e.order.Uint64(dynamic)) {
		case elf.DT_NULL:
			return names, needed
		case elf.DT_NEEDED:
			needed++
		case elf.DT_STRTAB:
			names.at = e.loaded(e.order.Uint64(dynamic[8:]))
		case elf.DT_STRSZ:
			names.size = e.order.Uint64(dynamic[8:])
		}
	}
	return names, needed
}

// versionNeeds reads Elf64_Verneed and Elf64_Vernaux: each record has the distance to
// the next.
func (e *elfFile) versionNeeds(at uint64, names stringTable) []VersionNeed {
	const size = 16 // of either
	var needs []VersionNeed
	taken := 0
	for need := e.read(at, size); need != nil && taken < mostRecords; need = e.read(at, size) {
		file := e.name(names, uint64(e.order.Uint32(need[4:])))
		next := at + uint64(e.order.Uint32(need[8:]))
		count := e.order.Uint16(need[2:])
		versions := make([]string, 0, min(count, 32))
		for range count {
			version := e.read(next, size)
			if taken++; version == nil || taken > mostRecords {
				break
			}
			versions = append(versions, e.name(names, uint64(e.order.Uint32(version[8:]))))
			next += uint64(e.order.Uint32(version[12:]))
		}
		needs = append(needs, VersionNeed{file, versions})
		if e.order.Uint32(need[12:]) == 0 {
			break
		}
		at += uint64(e.order.Uint32(need[12:]))
		taken++
	}
	return needs
}

// versionsDefined reads Elf64_Verdef: the first name of each.
func (e *elfFile) versionsDefined(at uint64, names stringTable) []string {
	const size, sizeName = 20, 8 // of Elf64_Verdef and Elf64_Verdaux
	var defined []string
	for range mostRecords {
		definition := e.read(at, size)
		if definition == nil {
			break
		}
		if name := e.read(at+uint64(e.order.Uint32(definition[12:])), sizeName); name != nil {
			defined = append(defined, e.name(names, uint64(e.order.Uint32(name))))
		}
		next := uint64(e.order.Uint32(definition[16:]))
		if next == 0 {
			break
		}
		at += next
	}
	return defined
}

// interp returns the path in PT_INTERP.
func (e *elfFile) interp() string {
	return text(e.segment(elf.PT_INTERP, maxPath), 0)
}

const maxPath = 4096

// readAt reads data that may end early.
func readAt(f io.ReaderAt, data []byte, at int64) int {
	n, _ := f.ReadAt(data, at)
	return n
}

// Machine returns the architecture as ELF files name it.
func Machine(arch string) elf.Machine {
	switch arch {
	case "amd64":
		return elf.EM_X86_64
	case "arm64":
		return elf.EM_AARCH64
	case "ppc64le":
		return elf.EM_PPC64
	}
	return elf.EM_NONE
}
