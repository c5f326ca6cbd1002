package main

import "github.com/urfave/cli/v2"

// A wordFlag is an option that stands alone for true, or has another word behind a =.
type wordFlag struct{ cli.GenericFlag }

// newWordFlag returns such an option.
func newWordFlag(name, usage string, aliases ...string) *wordFlag {
	return &wordFlag{cli.GenericFlag{Name: name, Aliases: aliases, Usage: usage, Value: new(word)}}
}

// String is the option's line of the help.
func (f *wordFlag) String() string {
	names := "--" + f.Name
	for _, alias := range f.Aliases {
		names += ", -" + alias
	}
	return names + "\t" + f.Usage
}

// TakesValue reports that the next argument is not the option's.
func (*wordFlag) TakesValue() bool { return false }

// A word is the value of a wordFlag.
type word string

// Set keeps the word.
func (w *word) Set(value string) error {
	*w = word(value)
	return nil
}

// Get returns the word, as package flag asks for it.
func (w *word) Get() any { return w.String() }

func (w *word) String() string { return string(*w) }

// IsBoolFlag makes package flag take the option alone for true.
func (*word) IsBoolFlag() bool { return true }
