package mountpoints

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// injectedDir holds files and links made for a container, below our directory.
const injectedDir = "injected"

// Injected makes what the specification cannot express, the files, directories and links of the
// bundle, below dir. It returns the edits by which they appear in the container. It leaves links in
// a directory of the image to New. Without procToo it leaves out an optional file in /proc, where
// libcontainer mounts nothing.
func Injected(b *bundle.Bundle, dir string, procToo bool) ([]bundle.Edit, error) {
	var edits []bundle.Edit
	dir = filepath.Join(dir, injectedDir)
	files, err := makeFiles(b.Files, filepath.Join(dir, "files"), procToo)
	if err != nil {
		return nil, err
	}
	mounts := b.Spec.Mounts
	if !files.Empty() {
		edits = append(edits, files)
		mounts = files.MergeMounts(slices.Clone(mounts))
	}
	directories, err := makeDirectories(b, mounts, filepath.Join(dir, "directories"))
	if err != nil {
		return nil, err
	}
	if !directories.Empty() {
		edits = append(edits, directories)
	}
	return edits, nil
}

func makeFiles(files []bundle.File, dir string, procToo bool) (bundle.Edit, error) {
	edit := bundle.Edit{From: "injected files"}
	for i, f := range files {
		if f.Optional && strings.HasPrefix(filepath.Clean(f.Path), "/proc/") && (!procToo || !onHost(f.Path)) {
			continue
		}
		source := filepath.Join(dir, strconv.Itoa(i))
		if err := writeInjected(source, f.Data); err != nil {
			return edit, fmt.Errorf("make file %s: %w", f.Path, err)
		}
		edit.Mounts = append(edit.Mounts, ours(source, f.Path))
	}
	return edit, nil
}

// ours returns the mount of what was made for the container.
func ours(source, destination string) specs.Mount {
	return bundle.Bind(source, destination, "bind", "ro", "nosuid", "nodev")
}

// onHost reports whether the host has the file: what is mounted in a /proc must already exist.
func onHost(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// writeInjected makes a file that the container's user may read, whoever that is.
func writeInjected(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o444)
}

// makeDirectories makes the directories of the bundle, and directories for links on a tmpfs of the
// container, such as its /dev. Nothing can be made on the tmpfs beforehand, so a directory of ours
// with the links is mounted there, with mount points for whatever else is mounted in it. Links
// below any other mount are left to that mount.
func makeDirectories(b *bundle.Bundle, mounts []specs.Mount, dir string) (bundle.Edit, error) {
	edit := bundle.Edit{From: "injected directories"}
	for i, top := range tops(slices.Concat(b.Directories, linkDirs(b.Links, mounts))) {
		made := filepath.Join(dir, strconv.Itoa(i))
		first, err := makeDirectory(b, mounts, top, made)
		if err != nil {
			return edit, err
		}
		edit.MountsAt = append(edit.MountsAt, bundle.MountsAt{Index: first, Mounts: []specs.Mount{ours(made, top)}})
	}
	slices.SortStableFunc(edit.MountsAt, func(a, b bundle.MountsAt) int { return cmp.Compare(a.Index, b.Index) })
	return edit, nil
}

// makeDirectory makes one of them. first is the first mount that goes into it, before which it must
// be mounted.
func makeDirectory(b *bundle.Bundle, mounts []specs.Mount, top, made string) (first int, err error) {
	if err := os.MkdirAll(made, 0o755); err != nil {
		return 0, fmt.Errorf("make directory %s: %w", top, err)
	}
	points := newMaker(made)
	defer points.close()
	for _, l := range b.Links {
		if inside, ok := strings.CutPrefix(filepath.Clean(l.Path), top+"/"); ok {
			if err := points.make(inside, target{link: l.Target}); err != nil {
				return 0, fmt.Errorf("make link %s: %w", l.Path, err)
			}
		}
	}
	for _, below := range b.Directories {
		if inside, ok := strings.CutPrefix(filepath.Clean(below), top+"/"); ok {
			if err := points.make(inside, target{}); err != nil {
				return 0, fmt.Errorf("make directory %s: %w", below, err)
			}
		}
	}
	first = len(mounts)
	for k, m := range mounts {
		inside, ok := strings.CutPrefix(filepath.Clean("/"+m.Destination), top+"/")
		if !ok {
			continue
		}
		first = min(first, k)
		if err := points.make(inside, target{file: isFile(m)}); err != nil {
			return 0, fmt.Errorf("make mount point %s: %w", m.Destination, err)
		}
	}
	return first, nil
}

// linkDirs returns the directories of links that are on a tmpfs.
func linkDirs(links []bundle.Link, mounts []specs.Mount) []string {
	var dirs []string
	for _, l := range links {
		dirs = append(dirs, filepath.Dir(filepath.Clean(l.Path)))
	}
	slices.Sort(dirs)
	return slices.DeleteFunc(slices.Compact(dirs), func(dir string) bool { return !onTmpfs(mounts, dir) })
}

// tops returns the directories that are not within another one.
func tops(dirs []string) []string {
	for i := range dirs {
		dirs[i] = filepath.Clean(dirs[i])
	}
	slices.Sort(dirs)
	var tops []string
	for _, dir := range dirs {
		within := func(top string) bool { return dir == top || strings.HasPrefix(dir, top+"/") }
		if !slices.ContainsFunc(tops, within) {
			tops = append(tops, dir)
		}
	}
	return tops
}

// onTmpfs reports whether the directory is below a tmpfs of the container.
func onTmpfs(mounts []specs.Mount, dir string) bool {
	deepest, on := 0, false
	for _, m := range mounts {
		destination := filepath.Clean("/" + m.Destination)
		if strings.HasPrefix(dir, destination+"/") && len(destination) >= deepest {
			deepest, on = len(destination), m.Type == "tmpfs" && !bundle.IsBind(m)
		}
	}
	return on
}
