package gpu

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

func inParentheses(s string) string {
	if s == "" {
		return ""
	}
	return " (" + text.Printable(s) + ")"
}

// sorted orders names naturally: numbers in them by value.
func sorted(names []string) []string {
	slices.SortFunc(names, natural)
	return names
}

func natural(a, b string) int {
	for a != "" && b != "" {
		x, restA := numberAt(a)
		y, restB := numberAt(b)
		if x >= 0 && y >= 0 {
			if x != y {
				return cmp.Compare(x, y)
			}
			a, b = restA, restB
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// numberAt returns the number at the start of s, or -1.
func numberAt(s string) (int, string) {
	end := 0
	for end < len(s) && end < 9 && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == 0 {
		return -1, s
	}
	n, _ := strconv.Atoi(s[:end])
	return n, s[end:]
}

// suffixNumber returns the number after a prefix, as in nvidia3.
func suffixNumber(name, prefix string) (int, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}
