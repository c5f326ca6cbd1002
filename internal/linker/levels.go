package linker

import (
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
)

// Levels lists the existing subdirectories of dir for newer processors, and then dir,
// in the order of glibc's loader. If one appears later, the directory changes, which is
// witnessed.
func (l *Loader) Levels(dir string) []string {
	d := l.Dir(dir)
	switch {
	case d == nil:
		return nil
	case l.musl:
		return []string{dir}
	}
	if !d.leveled {
		d.leveled, d.levels = true, l.levelsOf(dir, d)
	}
	if len(d.levels) == 0 {
		return []string{dir}
	}
	levels := make([]string, 0, len(d.levels)+1)
	for _, level := range d.levels {
		levels = append(levels, below(dir, level))
	}
	return append(levels, dir)
}

// levelsOf finds the subdirectories, relative to dir.
func (l *Loader) levelsOf(dir string, d *Directory) (levels []string) {
	if all := hwcaps(l.Arch); len(all) > 0 && d.Has(hwcapsDir) {
		in := l.Dir(below(dir, hwcapsDir))
		for _, level := range l.usable(all) {
			if in != nil && in.Has(level) {
				levels = append(levels, hwcapsDir+"/"+level)
			}
		}
	}
	legacy := l.legacyLevels(dir, legacyHwcaps(l.Arch))
	if len(legacy) == 0 || !l.looksInLegacy() {
		return levels
	}
	return append(levels, legacy...)
}

// usable returns the levels that the host's processor can use.
func (l *Loader) usable(all []string) []string {
	if l.Machine == nil {
		return all
	}
	if l.usableLevels == nil {
		l.usableLevels = UsableHwcaps(l.Machine, l.Arch)
	}
	return l.usableLevels
}

// isUsable reports whether a file in the cache is for the host's processor, or for any.
func (l *Loader) isUsable(file string) bool {
	_, after, found := strings.Cut(file, "/"+hwcapsDir+"/")
	level, _, _ := strings.Cut(after, "/")
	return !found || slices.Contains(l.usable(hwcaps(l.Arch)), level)
}

// legacyLevels lists the levels of a glibc before 2.37: any of them, nested in that
// order. It ignores which of them the processor can use: an installed library is meant
// for some processor, so all are listed.
func (l *Loader) legacyLevels(dir string, names []string) (levels []string) {
	d := l.Dir(dir)
	if d == nil {
		return nil
	}
	for i, name := range names {
		if !d.Has(name) {
			continue
		}
		for _, deeper := range l.legacyLevels(below(dir, name), names[i+1:]) {
			levels = append(levels, name+"/"+deeper)
		}
		levels = append(levels, name)
	}
	return levels
}

// looksInLegacy reports, by glibc's version, whether its loader searches them.
func (l *Loader) looksInLegacy() bool {
	files := l.Cached("libc.so.6")
	for _, dir := range LibraryDirs(l.Arch) {
		files = append(files, dir+"/libc.so.6")
	}
	for _, file := range files {
		if o := l.Fitting(file); o != nil {
			const without = "2.37"
			return host.CompareVersions(host.Greatest("GLIBC_", o.Defines), without) < 0
		}
	}
	return true
}
