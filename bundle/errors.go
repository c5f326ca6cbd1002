package bundle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// These are the reasons for which Load, Apply and Validate fail, for errors.Is. Callers choose a
// hint by them; the error that wraps them says what is wrong and where.
var (
	// ErrNoConfig says that the bundle has no config.json, or that the
	// bundle directory itself does not exist.
	ErrNoConfig = errors.New("no config.json")

	// ErrNotRegular says that config.json is a directory, fifo, socket or device.
	ErrNotRegular = errors.New("not a regular file")

	// ErrTooLarge says that config.json is larger than MaxConfigSize.
	ErrTooLarge = errors.New("file is too large")

	// ErrNoRootfs says that root.path does not exist or is not a directory.
	ErrNoRootfs = errors.New("no root filesystem")

	// ErrUnsupported says that the configuration asks for another platform,
	// or for another major version of the specification.
	ErrUnsupported = errors.New("not supported")
)

// ConfigError says what is wrong with a configuration, and where. Load and Validate return no other
// type. Apply wraps it with the name of the edit at fault.
type ConfigError struct {
	// File is the path of config.json in Bundle.Dir; empty for an edit.
	File string

	// Line and Column are where the offending value begins in File. Both count from 1, Column in
	// characters. Both are 0 if the position is unknown: Validate sees the configuration after
	// edits.
	Line, Column int

	// Field is the path of the offending property, such as mounts[3].destination; empty for an
	// error of the whole file.
	Field string

	// Err is the reason.
	Err error

	// op is what failed; empty means read.
	op string
}

// Error returns one line such as
//
//	read /b/config.json: line 12 column 7: process.args: expected array of strings, got number
func (e *ConfigError) Error() string {
	var b strings.Builder
	if e.File != "" {
		op := e.op
		if op == "" {
			op = "read"
		}
		fmt.Fprintf(&b, "%s %s: ", op, e.File)
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d column %d: ", e.Line, e.Column)
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	fmt.Fprintf(&b, "%v", e.Err)
	return b.String()
}

// Unwrap returns the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

// invalid returns the error of one field. The caller that knows the file fills it in.
func invalid(field, format string, args ...any) *ConfigError {
	return &ConfigError{Field: field, Err: fmt.Errorf(format, args...)}
}

// at returns the path of element i of the array field.
func at(field string, i int) string {
	return field + "[" + strconv.Itoa(i) + "]"
}
