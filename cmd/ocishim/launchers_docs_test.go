package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// knownDifferences returns the differences in the table of docs/launchers.md: what stands in “ in
// its first column.
func knownDifferences() []string {
	page, err := os.ReadFile(filepath.Join(shared.dir, "launchers.md"))
	if err != nil {
		panic(err) // the fixture has a copy
	}
	_, section, _ := strings.Cut(string(page), "### Seen from inside\n")
	section, _, _ = strings.Cut(section, "\n#")
	var known []string
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, word := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
				known = append(known, word[1])
			}
		}
	}
	return known
}
