package host

import (
	"debug/elf"
	"fmt"
	"os"
)

// A Library is what the dynamic section of a shared library says.
type Library struct {
	Class   elf.Class
	Machine elf.Machine
	Soname  string              // DT_SONAME, empty without
	Needed  []string            // DT_NEEDED
	Needs   map[string][]string // symbol versions it needs, by the library that has them
	Defines []string            // symbol versions it defines
}

// maxLibrary bounds libraries that are read, in bytes. The driver's largest have
// about a hundred megabytes.
const maxLibrary = 1 << 30

// Library reads the headers of a library.
func (t *Tree) Library(path string) (lib Library, err error) {
	f, err := t.OpenFile(path)
	if err != nil {
		return Library{}, err
	}
	defer f.Close()
	lib, err = readLibrary(f)
	if err != nil {
		return Library{}, fmt.Errorf("read library %s: %w", path, err)
	}
	return lib, nil
}

// readLibrary does not trust the file: debug/elf is written for honest ones.
func readLibrary(f *os.File) (lib Library, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bad ELF file: %v", r)
		}
	}()
	if info, err := f.Stat(); err != nil || info.Size() > maxLibrary {
		return Library{}, ErrTooLarge
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return Library{}, err
	}
	lib = Library{Class: e.Class, Machine: e.Machine}
	// Each of these is empty for a file without a dynamic section.
	if names, err := e.DynString(elf.DT_SONAME); err == nil && len(names) > 0 {
		lib.Soname = names[0]
	}
	lib.Needed, _ = e.DynString(elf.DT_NEEDED)
	needs, _ := e.DynamicVersionNeeds()
	for _, need := range needs {
		if lib.Needs == nil {
			lib.Needs = map[string][]string{}
		}
		for _, version := range need.Needs {
			lib.Needs[need.Name] = append(lib.Needs[need.Name], version.Dep)
		}
	}
	versions, _ := e.DynamicVersions()
	for _, version := range versions {
		lib.Defines = append(lib.Defines, version.Name)
	}
	return lib, nil
}
