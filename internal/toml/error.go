package toml

import (
	"strconv"

	"github.com/ocishim/ocishim/internal/text"
)

// Error is a mistake in a file, with its position.
type Error struct {
	// File is the path of the file.
	File string

	// Line and Column are the position of the mistake, both counted from 1, Column in
	// characters.
	Line, Column int

	// Key is the key in question, such as hpc.mounts[1].source; empty if the file is
	// not valid TOML.
	Key string

	// Err is the reason.
	Err error
}

// Error returns one line such as
//
//	/etc/ocishim/config.toml:3:8: hpc.home: expected true or false, not "yes"
func (e *Error) Error() string {
	text := Position(e.File, e.Line, e.Column) + ": "
	if e.Key != "" {
		text += e.Key + ": "
	}
	return text + e.Err.Error()
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Position returns FILE:LINE:COLUMN, without the column if it is 0.
func Position(file string, line, column int) string {
	text := text.Whole(file) + ":" + strconv.Itoa(line)
	if column > 0 {
		text += ":" + strconv.Itoa(column)
	}
	return text
}
