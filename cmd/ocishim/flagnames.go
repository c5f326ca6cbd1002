package main

import "github.com/urfave/cli/v2"

// urfave/cli searches the flags of a verb once for each of them, and each time makes the list of
// the flag's names with a regular expression. This takes longer than the rest of the command
// line. These flags keep the list.
type (
	stringFlag struct {
		*cli.StringFlag
		names []string
	}
	boolFlag struct {
		*cli.BoolFlag
		names []string
	}
	sliceFlag struct {
		*cli.StringSliceFlag
		names []string
	}
	intFlag struct {
		*cli.IntFlag
		names []string
	}
)

func (f *stringFlag) Names() []string { return f.names }
func (f *boolFlag) Names() []string   { return f.names }
func (f *sliceFlag) Names() []string  { return f.names }
func (f *intFlag) Names() []string    { return f.names }

// keepNames makes the global flags keep their names.
func keepNames(app *cli.App) {
	app.Flags = withNames(app.Flags)
	own := withNames([]cli.Flag{cli.VersionFlag, cli.HelpFlag})
	cli.VersionFlag, cli.HelpFlag = own[0], own[1]
}

// withNames returns the flags with lists of their names.
func withNames(flags []cli.Flag) []cli.Flag {
	made := make([]cli.Flag, 0, len(flags))
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.StringFlag:
			made = append(made, &stringFlag{f, f.Names()})
		case *cli.BoolFlag:
			made = append(made, &boolFlag{f, f.Names()})
		case *cli.StringSliceFlag:
			made = append(made, &sliceFlag{f, f.Names()})
		case *cli.IntFlag:
			made = append(made, &intFlag{f, f.Names()})
		default:
			made = append(made, f)
		}
	}
	return made
}
