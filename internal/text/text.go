// Package text makes text from hostile files and environments safe for messages: one
// line, without terminal escapes, and of bounded length.
package text

import (
	"strconv"
	"strings"
	"unicode"
)

// most bounds what Printable and Quoted show of a text, in bytes.
const most = 120

// Printable returns s unchanged if it is safe for one line of a terminal, and Quoted(s)
// otherwise. An empty text becomes "".
func Printable(s string) string {
	if s == "" || len(s) > most || !Fits(s) {
		return Quoted(s)
	}
	return s
}

// Quoted returns s in double quotes, as a Go string literal, cut after 120 bytes.
func Quoted(s string) string {
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// Whole is Printable without the cut, for paths and values that somebody will copy.
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
