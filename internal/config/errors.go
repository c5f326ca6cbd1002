package config

import "errors"

// These are the errors of Load, for errors.Is. Callers use them to find a hint.
var (
	// ErrUnsafe means that someone other than root may have written a file, or could
	// write to it.
	ErrUnsafe = errors.New("unsafe configuration")

	// ErrInvalid means that a file is not valid TOML, or that one of its keys is
	// unknown or has a wrong value. The *toml.Error says where.
	ErrInvalid = errors.New("invalid configuration")
)

// invalid is an ErrInvalid with its own text.
type invalid struct{ reason error }

func (e invalid) Error() string { return e.reason.Error() }

func (e invalid) Unwrap() error { return e.reason }

func (e invalid) Is(target error) bool { return target == ErrInvalid }
