package main

import "github.com/urfave/cli/v2"

// entries collects the values of an option that may be repeated, byte by byte: cli.StringSlice
// passes the values of an alias on as JSON.
type entries struct{ list []string }

// copied is what Set gets when the option's values are copied from an alias, which shares the list.
// No argument can have this value.
const copied = "\x00"

// Set adds a value.
func (e *entries) Set(value string) error {
	if value != copied {
		e.list = append(e.list, value)
	}
	return nil
}

// String returns what cli passes on to the other names of the option.
func (e *entries) String() string {
	if e == nil || len(e.list) == 0 {
		return ""
	}
	return copied
}

// listOf returns the values that were given for such an option.
func listOf(c *cli.Context, name string) []string {
	if e, ok := c.Generic(name).(*entries); ok {
		return e.list
	}
	return nil
}
