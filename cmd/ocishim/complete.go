package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/environment"
)

func completeCommand() *cli.Command {
	return &cli.Command{
		Name:            "complete",
		Usage:           "print what the last word of a command line may become, for shells",
		ArgsUsage:       "WORD...",
		Description:     "The words are those after `ocishim`; the last one, which may be empty, is the one to be completed.",
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) == 1 && words[0] == "--help" {
				return cli.ShowCommandHelp(c, c.Command.Name)
			}
			if len(words) > 0 && words[0] == "--" {
				words = words[1:]
			}
			if len(words) == 0 {
				words = []string{""}
			}
			for _, candidate := range candidates(c, words) {
				if strings.HasPrefix(candidate, words[len(words)-1]) && !strings.ContainsAny(candidate, "\n\r") {
					fmt.Println(candidate)
				}
			}
			return nil
		},
	}
}

// imageVerbs are ocishim-image's verbs that people type.
const imageVerbs = "pull import resolve which export ls inspect rm gc verify login logout stub stage"

// candidates returns what could stand in the place of the last word.
func candidates(c *cli.Context, words []string) []string {
	last := words[len(words)-1]
	at := verbIndex(c.App, append([]string{"ocishim"}, words[:len(words)-1]...))
	if at < 0 {
		if strings.HasPrefix(last, "-") {
			return spellings(c.App.Flags)
		}
		var verbs []string
		for _, command := range c.App.Commands {
			verbs = append(verbs, command.Name)
		}
		return verbs
	}
	command := c.App.Command(words[at-1])
	switch {
	case command == nil:
		return nil
	case strings.HasPrefix(last, "-"):
		return append(spellings(command.Flags), spellings(c.App.Flags)...)
	}
	return arguments(c, command.Name, words[at:len(words)-1])
}

// spellings returns the options with their hyphens.
func spellings(flags []cli.Flag) []string {
	var list []string
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				name = "-" + name
			}
			list = append(list, "-"+name)
		}
	}
	return list
}

// arguments returns candidates for an argument of a verb. before are the verb's words so far.
func arguments(c *cli.Context, verb string, before []string) []string {
	switch {
	case verb == "image" && len(before) == 0:
		return strings.Fields(imageVerbs)
	case verb == "env" && len(before) == 0:
		return []string{"ls", "show", "check"}
	case verb == "mpi":
		return []string{"detect"}
	}
	cfg, err := loadConfig(c)
	if err != nil {
		cfg = config.Default()
	}
	switch verb {
	case "env":
		return environments(cfg)
	case "run-image", "image":
		return append(environments(cfg), imageNames(cfg)...)
	case "state", "start", "kill", "delete", "exec", "ps", "pause", "resume", "update", "events", "checkpoint":
		return containers(c)
	}
	return nil
}

func environments(cfg *config.Config) []string {
	var names []string
	for _, file := range environment.PlacesOf(os.Environ(), "", cfg.Image.Environments).List() {
		names = append(names, file.Name)
	}
	return names
}

// imageNames returns the names by which images were imported.
func imageNames(cfg *config.Config) []string {
	stores := (&imageFinder{config: cfg, env: os.Environ()}).openStores()
	defer func() { _ = stores.Close() }()
	var names []string
	for _, store := range stores {
		refs, _, err := store.Refs()
		if err != nil {
			continue
		}
		for _, ref := range refs {
			names = append(names, ref.Name, strings.TrimPrefix(ref.Name, "docker://"))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// containers returns the ids of the caller's containers.
func containers(c *cli.Context) []string {
	var ids []string
	states, _ := allStates(c)
	for _, state := range states {
		ids = append(ids, state.ID)
	}
	return ids
}
