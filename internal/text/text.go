// Package text makes text from hostile files and environments fit for a message:
// one line, without terminal escapes, and of bounded length.
package text

import (
	"strconv"
	"strings"
	"unicode"
)

// most bounds what Printable and Quoted show of a text, in bytes.
const most = 120

// Printable returns s as it is where that fits into a line of a terminal, and
// otherwise as Quoted does: an empty text shows as "".
func Printable(s string) string {
	if s == "" || len(s) > most || !Fits(s) {
		return Quoted(s)
	}
	return s
}

// Quoted returns s between double quotes, as a Go string literal, and cuts what is
// longer than 120 bytes.
func Quoted(s string) string {
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// Whole quotes only what would not fit into a line of a terminal. It cuts nothing:
// it is for paths and values that somebody will copy.
func Whole(s string) string {
	if !Fits(s) {
		return strconv.Quote(s)
	}
	return s
}

// Fits reports whether a terminal shows s as it is, on one line.
func Fits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}
