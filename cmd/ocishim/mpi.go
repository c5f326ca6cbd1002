package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/mpi"
)

func mpiCommand() *cli.Command {
	return &cli.Command{
		Name:      "mpi",
		Usage:     "print a profile for each MPI of this host, ready to be edited",
		ArgsUsage: "detect [LIBRARY]...",
		Description: "It searches as the loader does, LD_LIBRARY_PATH first: load the module of the MPI beforehand.\n" +
			"LIBRARY is the path of an MPI, such as /opt/mpich/lib/libmpi.so.12. Put the output into a file\n" +
			"of /etc/ocishim/conf.d.",
		Action: func(c *cli.Context) error {
			if c.Args().First() != "detect" {
				return usageError{errors.New("mpi has one verb: mpi detect [LIBRARY]")}
			}
			return detectMPI(c.Args().Tail())
		},
	}
}

func detectMPI(libraries []string) error {
	node, err := host.Open("/", nil)
	if err != nil {
		return err
	}
	defer node.Close()
	var paths []string
	for _, path := range libraries {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		paths = append(paths, absolute)
	}
	found, err := mpi.Detect(node, goruntime.GOARCH, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")), paths)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("this host's loader finds no MPI: load its module, or name its library: mpi detect LIBRARY")
	}
	names := map[string]int{}
	for i, installed := range found {
		name := installed.ProfileName()
		if names[name]++; names[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, names[name])
		}
		if i > 0 {
			fmt.Println()
		}
		fmt.Print(installed.Profile(name))
	}
	return nil
}
