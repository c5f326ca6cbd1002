package host

import (
	"strconv"
	"strings"
)

// Greatest returns the greatest of the versions that consist of the prefix and numbers,
// without the prefix; empty if there is no such version.
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

// CompareVersions compares numbers separated by dots: the result is negative if a is
// less. Missing parts count as 0, and so does anything that is not a number.
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
