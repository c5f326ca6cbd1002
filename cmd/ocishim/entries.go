package main

import "github.com/urfave/cli/v2"

// entries collects the values of an option that may be given more than once, byte by byte:
// cli.StringSlice hands those of an alias on as JSON.
type entries struct{ list []string }

// copied is what such an option is told when its values are taken over from an alias,
// which has the same list. No argument can have it.
const copied = "\x00"

// Set takes a value over.
func (e *entries) Set(value string) error {
	if value != copied {
		e.list = append(e.list, value)
	}
	return nil
}

// String is what cli hands on to the other names of the option.
func (e *entries) String() string {
	if e == nil || len(e.list) == 0 {
		return ""
	}
	return copied
}

// listOf are the values that an option of this kind was given.
func listOf(c *cli.Context, name string) []string {
	if e, ok := c.Generic(name).(*entries); ok {
		return e.list
	}
	return nil
}
