package host

import (
	"strconv"
	"strings"
)

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
