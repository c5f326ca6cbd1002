package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// injectedDir is the part of a scaffold that holds files and links made for a
// container.
const injectedDir = "injected"

// makeInjected makes the files, directories and links of the bundle that the
// specification has no word for, in the entry, and mounts that put them into the container.
// Links in a directory of the image are left to planScaffold. An optional file
// in /proc is left out without procToo: libcontainer mounts nothing there.
func makeInjected(b *bundle.Bundle, entry string, procToo bool) error {
	dir := filepath.Join(entry, scaffoldDir, injectedDir)
	edit := bundle.Edit{From: "injected files"}
	for i, f := range b.Files {
		if f.Optional && strings.HasPrefix(filepath.Clean(f.Path), "/proc/") && (!procToo || !onNode(f.Path)) {
			continue
		}
		source := filepath.Join(dir, "files", strconv.Itoa(i))
		if err := writeInjected(source, f.Data); err != nil {
			return fmt.Errorf("make file %s: %w", f.Path, err)
		}
		edit.Mounts = append(edit.Mounts, specs.Mount{
			Destination: f.Path, Source: source, Type: "bind", Options: []string{"bind", "ro", "nosuid", "nodev"},
		})
	}
	if len(edit.Mounts) > 0 {
		if err := b.Apply(edit); err != nil {
			return err
		}
	}
	return makeDirectories(b, dir)
}

// onNode tells whether the node has the file: what is mounted in a /proc must be
// there beforehand.
func onNode(path string) bool {
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

// makeDirectories makes those of the bundle, and those of links that belong on a
// tmpfs of the container's, such as its /dev: nothing can be made there
// beforehand, so a directory of ours that holds them is mounted there, with mount
// points for whatever else is mounted in it. Below any other mount links are that
// mount's business.
func makeDirectories(b *bundle.Bundle, dir string) error {
	for i, top := range tops(slices.Concat(b.Directories, linkDirs(b))) {
		made := filepath.Join(dir, "directories", strconv.Itoa(i))
		if err := os.MkdirAll(made, 0o755); err != nil {
			return fmt.Errorf("make directory %s: %w", top, err)
		}
		points := newMaker(made)
		defer points.close() // of few directories
		for _, l := range b.Links {
			if inside, ok := strings.CutPrefix(filepath.Clean(l.Path), top+"/"); ok {
				if err := points.make(inside, target{link: l.Target}); err != nil {
					return fmt.Errorf("make link %s: %w", l.Path, err)
				}
			}
		}
		for _, below := range b.Directories {
			if inside, ok := strings.CutPrefix(filepath.Clean(below), top+"/"); ok {
				if err := points.make(inside, target{}); err != nil {
					return fmt.Errorf("make directory %s: %w", below, err)
				}
			}
		}
		first := len(b.Spec.Mounts)
		for k, m := range b.Spec.Mounts {
			inside, ok := strings.CutPrefix(filepath.Clean("/"+m.Destination), top+"/")
			if !ok {
				continue
			}
			first = min(first, k)
			if err := points.make(inside, target{file: isFile(m)}); err != nil {
				return fmt.Errorf("make mount point %s: %w", m.Destination, err)
			}
		}
		b.Spec.Mounts = slices.Insert(b.Spec.Mounts, first, specs.Mount{
			Destination: top, Source: made, Type: "bind", Options: []string{"bind", "ro", "nosuid", "nodev"},
		})
	}
	return nil
}

// linkDirs are the directories of links that lie on a tmpfs.
func linkDirs(b *bundle.Bundle) []string {
	var dirs []string
	for _, l := range b.Links {
		dirs = append(dirs, filepath.Dir(filepath.Clean(l.Path)))
	}
	slices.Sort(dirs)
	return slices.DeleteFunc(slices.Compact(dirs), func(dir string) bool { return !onTmpfs(b.Spec.Mounts, dir) })
}

// tops are those of the directories that lie within no other.
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

// onTmpfs tells whether the directory lies below a tmpfs of the container's.
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
