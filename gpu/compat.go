package gpu

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
)

// compatDir is where CUDA images keep the user-space part of a newer driver, for hosts
// whose kernel has an older one ("forward compatibility").
const compatDir = "/usr/local/cuda/compat"

// mostCompat bounds how many libraries are taken from compatDir; CUDA's images have
// about five.
const mostCompat = 32

// forwardCompatibility puts the image's libraries before the host's if they are newer
// and declare that they work with the host's driver.
func (p *plan) forwardCompatibility(hostVersion string) {
	dir, err := p.Image.Resolve(compatDir)
	if err != nil {
		return
	}
	var version string
	names := sorted(p.Image.Names(dir))
	for _, name := range names {
		v, ok := strings.CutPrefix(name, "libcuda.so.")
		if !ok || !strings.Contains(v, ".") || strings.Trim(v, "0123456789.") != "" {
			continue
		}
		if version != "" {
			return // two versions: it is unknown which one the image uses
		}
		version = v
	}
	if version == "" || !compatible(p.Image, path.Join(dir, "libcuda.so."+version), version, hostVersion) {
		return
	}
	for _, name := range names {
		base, ok := driverLibraryName(name, version)
		if !ok || len(p.compat) == mostCompat {
			continue
		}
		lib, err := p.Image.Library(path.Join(dir, name))
		if err != nil || lib.Machine != host.Machine(p.Arch) {
			continue
		}
		if lib.Soname == "" {
			lib.Soname = name
		}
		p.compat = append(p.compat, library{path: path.Join(dir, name), file: base + ".so." + version, soname: lib.Soname})
	}
}

// A compatNote is what such a libcuda declares about itself, as JSON in an ELF note.
type compatNote struct {
	Driver []int // major versions of the kernel drivers that it works with
}

// compatible reports whether to use the image's libcuda: it must be newer and list the
// host's driver; one without a note must belong to a newer branch.
func compatible(image *host.Tree, file, version, hostVersion string) bool {
	branch, _, _ := strings.Cut(hostVersion, ".")
	major, err := strconv.Atoi(branch)
	if err != nil {
		return false
	}
	note, ok := readCompatNote(image, file)
	if !ok {
		own, _, _ := strings.Cut(version, ".")
		return host.CompareVersions(own, branch) > 0
	}
	return slices.Contains(note.Driver, major) && host.CompareVersions(version, hostVersion) > 0
}

// readCompatNote reads the section .note.cuda.fwd_compatibility.
func readCompatNote(image *host.Tree, file string) (note compatNote, ok bool) {
	defer func() {
		if recover() != nil { // debug/elf may panic on hostile files
			ok = false
		}
	}()
	f, err := image.OpenFile(file)
	if err != nil {
		return note, false
	}
	defer f.Close()
	e, err := elf.NewFile(f)
	if err != nil {
		return note, false
	}
	section := e.Section(".note.cuda.fwd_compatibility")
	const most = 64 << 10
	if section == nil || section.Type != elf.SHT_NOTE || section.Size > most {
		return note, false
	}
	data, err := section.Data()
	if err != nil {
		return note, false
	}
	return note, parseCompatNote(data, e.ByteOrder, section.Addralign, &note)
}

// parseCompatNote reads an ELF note: the sizes of name and description, a type, then
// the name and the description, aligned.
func parseCompatNote(data []byte, order binary.ByteOrder, align uint64, note *compatNote) bool {
	const header = 12
	if len(data) < header {
		return false
	}
	if align < 4 || align > 8 {
		align = 4
	}
	nameSize, size := uint64(order.Uint32(data)), uint64(order.Uint32(data[4:]))
	start := header + (nameSize+align-1)/align*align
	if header+nameSize > uint64(len(data)) || start+size > uint64(len(data)) {
		return false
	}
	if string(bytes.Trim(data[header:header+nameSize], "\x00")) != "NVIDIA Corporation" {
		return false
	}
	return json.Unmarshal(bytes.Trim(data[start:start+size], "\x00"), note) == nil
}
