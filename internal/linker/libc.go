package linker

import (
	"debug/elf"
	"errors"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

// A Libc is the C library of an image.
type Libc struct {
	// Kind is "glibc", "musl", or "none" for an image without dynamically linked
	// programs.
	Kind string

	Path    string // of glibc's libc.so.6
	Version string // of glibc: the greatest GLIBC_x.y that it defines, such as 2.36
}

// LibcOf finds the C library of a tree for programs of the architecture, named as in
// GOARCH, in the loader's cache, which may be nil, and in the usual places.
func LibcOf(t *host.Tree, arch string, cache *ldcache.Cache) (Libc, error) {
	for _, path := range candidates(arch, cache, "libc.so.6") {
		lib, err := t.Library(path)
		if errors.Is(err, host.ErrNotRegular) || err != nil && !t.Exists(path) {
			continue
		}
		if err != nil {
			return Libc{}, err
		}
		if lib.Machine != host.Machine(arch) || lib.Class != elf.ELFCLASS64 {
			continue
		}
		if version := host.Greatest("GLIBC_", lib.Defines); version != "" {
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

// candidates lists where the loader would look for a library without any search path:
// in its cache, which may be nil, and in the usual places.
func candidates(arch string, cache *ldcache.Cache, name string) []string {
	var paths []string
	if cache != nil {
		paths = cache.Lookup(name, ldcache.Flags(arch))
	}
	for _, dir := range LibraryDirs(arch) {
		paths = append(paths, dir+"/"+name)
	}
	return paths
}

// LibraryDirs lists where distributions keep 64-bit libraries, which their loaders
// search by default.
func LibraryDirs(arch string) []string {
	dirs := []string{"/usr/lib64", "/lib64", "/usr/lib", "/lib"}
	if triplet := Triplet(arch); triplet != "" {
		dirs = append([]string{"/usr/lib/" + triplet, "/lib/" + triplet}, dirs...)
	}
	return dirs
}

// Triplet returns Debian's name for the architecture.
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

// IsLibc reports whether the library belongs to glibc itself: the image's own must be
// used, because its parts fit only each other and its loader.
func IsLibc(name string) bool {
	if strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so") || IsMusl(name) {
		return true
	}
	base, _, _ := strings.Cut(name, ".so")
	switch base {
	case "libc", "libm", "libmvec", "libpthread", "libdl", "librt", "libresolv", "libutil", "libanl", "libnsl",
		"libBrokenLocale", "libthread_db", "libnss_files", "libnss_dns", "libnss_compat", "libnss_hesiod":
		return true
	}
	return false
}

// IsMusl recognises musl's library and loader, which are one file.
func IsMusl(name string) bool {
	return strings.HasPrefix(name, "libc.musl-") || strings.HasPrefix(name, "ld-musl-")
}
