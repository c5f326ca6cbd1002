package host

import (
	"debug/elf"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/host/ldcache"
)

// LoaderCache is where glibc's loader has its cache.
const LoaderCache = "/etc/ld.so.cache"

// A Libc is the C library of an image.
type Libc struct {
	// Kind is "glibc", "musl", or "none" for an image without programs that
	// are linked dynamically.
	Kind string

	Path    string // of glibc's libc.so.6
	Version string // of glibc, the greatest GLIBC_x.y that it defines, such as 2.36
}

// Libc finds the C library for programs of the architecture, named as in GOARCH,
// by the loader's cache, which may be nil, and in the usual places.
func (t *Tree) Libc(arch string, cache *ldcache.Cache) (Libc, error) {
	for _, path := range libcPaths(arch, cache) {
		lib, err := t.Library(path)
		if errors.Is(err, ErrNotRegular) || err != nil && !t.Exists(path) {
			continue
		}
		if err != nil {
			return Libc{}, err
		}
		if lib.Machine != Machine(arch) || lib.Class != elf.ELFCLASS64 {
			continue
		}
		if version := Greatest("GLIBC_", lib.Defines); version != "" {
			return Libc{Kind: "glibc", Path: path, Version: version}, nil
		}
	}
	for _, name := range t.Names("/lib") {
		if strings.HasPrefix(name, "ld-musl-") {
			return Libc{Kind: "musl"}, nil
		}
	}
	return Libc{Kind: "none"}, nil
}

// libcPaths is where libc.so.6 may be, as the loader would search it.
func libcPaths(arch string, cache *ldcache.Cache) []string {
	var paths []string
	if cache != nil {
		paths = cache.Lookup("libc.so.6", ldcache.Flags(arch))
	}
	for _, dir := range LibraryDirs(arch) {
		paths = append(paths, dir+"/libc.so.6")
	}
	return paths
}

// LoaderCache reads the cache of glibc's loader.
func (t *Tree) LoaderCache() (*ldcache.Cache, error) {
	data, err := t.ReadFile(LoaderCache)
	if err != nil {
		return nil, err
	}
	c, err := ldcache.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", LoaderCache, err)
	}
	return c, nil
}

// LibraryDirs lists where distributions keep 64-bit libraries, which are also
// where their loaders look without being told.
func LibraryDirs(arch string) []string {
	dirs := []string{"/usr/lib64", "/lib64", "/usr/lib", "/lib"}
	if triplet := Triplet(arch); triplet != "" {
		dirs = append([]string{"/usr/lib/" + triplet, "/lib/" + triplet}, dirs...)
	}
	return dirs
}

// Triplet is Debian's name for the architecture.
func Triplet(arch string) string {
	switch arch {
	case "amd64":
		return "x86_64-linux-gnu"
	case "arm64":
		return "aarch64-linux-gnu"
	case "ppc64le":
		return "powerpc64le-linux-gnu"
	}
	return ""
}

// Machine is the architecture as ELF files name it.
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

// Greatest is the greatest of those versions that are the prefix and numbers,
// without the prefix; empty where there is none.
func Greatest(prefix string, versions []string) string {
	greatest := ""
	for _, v := range versions {
		v, ok := strings.CutPrefix(v, prefix)
		if ok && isVersion(v) && (greatest == "" || CompareVersions(v, greatest) > 0) {
			greatest = v
		}
	}
	return greatest
}

func isVersion(v string) bool {
	return v != "" && strings.Trim(v, "0123456789.") == ""
}

// CompareVersions compares numbers separated by dots: negative when a is less.
// What is missing counts as 0, and so does what is no number.
func CompareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		n, _ := strconv.Atoi(x)
		m, _ := strconv.Atoi(y)
		if n != m {
			return n - m
		}
	}
	return 0
}
