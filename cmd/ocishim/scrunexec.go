package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/scrun"
)

func scrunExecCommand(inv *invocation) *cli.Command {
	command := execCommand(inv)
	command.Usage = "run a further process in a container, or beside it with its root and mounts"
	command.Description = "The process runs as an overlapping step of the container's job; scrun.enter puts it into the container.\n" + command.Description
	command.Action = func(c *cli.Context) error {
		container, err := scrunContainer(c, 0)
		if err != nil {
			return err
		}
		process, err := readProcess(c, container.Process)
		if err != nil {
			return err
		}
		create, err := scrunOptions(c)
		if err != nil {
			return err
		}
		inv.status, err = container.Exec(process, scrun.ExecOptions{
			Detach: c.Bool("detach"), PidFile: create.PidFile, ConsoleSocket: create.ConsoleSocket,
			Log: create.Log, Progress: create.Progress, Enter: create.Site.Enter,
		})
		return err
	}
	return command
}

func scrunPsCommand() *cli.Command {
	command := psCommand()
	command.Description = "As JSON: the pid of its anchor, the only process on this host. As a table: ps(1) on its compute nodes."
	command.Action = func(c *cli.Context) error {
		container, err := scrunContainer(c, 0)
		if err != nil {
			return err
		}
		switch format := c.String("format"); format {
		case "json":
			pids, err := container.Pids()
			if err != nil {
				return err
			}
			return printJSON(pids)
		case "table":
			lines, err := container.Processes(c.Args().Tail())
			if err != nil {
				return err
			}
			_, err = os.Stdout.WriteString(lines)
			return err
		default:
			return usageError{fmt.Errorf("--format %q: choose table or json", format)}
		}
	}
	return command
}

func scrunUpdateCommand() *cli.Command {
	return &cli.Command{
		Name: "update", Usage: "change the time limit of a container's job", ArgsUsage: "ID",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "time", Usage: "`LIMIT` as scontrol(1) writes it"},
			&cli.StringFlag{Name: "resources", Aliases: []string{"r"}, Usage: "`FILE` with limits as JSON, - for stdin; any limit that is set is an error, as Slurm cannot change it"},
		},
		Action: func(c *cli.Context) error {
			if c.NumFlags() == 0 {
				return usageError{errors.New("update: no option says what to change")}
			}
			container, err := scrunContainer(c, 1)
			if err != nil {
				return err
			}
			if path := c.String("resources"); path != "" {
				if err := checkUnchanged(path); err != nil {
					return fmt.Errorf("update container %q: %w", container.ID, err)
				}
			}
			if limit := c.String("time"); limit != "" {
				return container.SetTimeLimit(limit)
			}
			return nil
		},
	}
}

// checkUnchanged accepts only limits that change nothing.
func checkUnchanged(path string) error {
	in := io.Reader(os.Stdin)
	if path != "-" {
		f, err := os.Open(filepath.Clean(path))
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	limits := map[string]any{}
	if err := json.NewDecoder(in).Decode(&limits); err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	if !scrun.Unchanged(limits) {
		return fmt.Errorf("%w: limits of a running job cannot be changed", scrun.ErrUnsupported)
	}
	return nil
}
