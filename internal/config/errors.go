package config

import "errors"

// What Load can fail with, for errors.Is. Callers use them to find a hint.
var (
	// ErrUnsafe says that somebody else than root could have written a file,
	// or could write to it.
	ErrUnsafe = errors.New("unsafe configuration")

	// ErrInvalid says that a file is no TOML, or that a key of it is unknown
	// or has a wrong value. Where, a *toml.Error says.
	ErrInvalid = errors.New("invalid configuration")
)

// invalid is an error that is an ErrInvalid, in its own words.
type invalid struct{ reason error }

func (e invalid) Error() string { return e.reason.Error() }

func (e invalid) Unwrap() error { return e.reason }

func (e invalid) Is(target error) bool { return target == ErrInvalid }
