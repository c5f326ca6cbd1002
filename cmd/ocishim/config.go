package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/config"
)

func configCommand() *cli.Command {
	return &cli.Command{
		Name:      "config",
		Usage:     "print the site's configuration, and where each value comes from",
		ArgsUsage: "[FILE]...",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "print only what is wrong with the site's files, or with the content of each FILE"},
			&cli.BoolFlag{Name: "json", Usage: "print it as JSON"},
		},
		Action: showConfig,
	}
}

// describeConfig is the part of the help that is generated from the keys.
func describeConfig() string {
	return "The files are " + config.Dir + "/config.toml and " + config.Dir + "/conf.d/*.toml, in TOML. If several\n" +
		"files set a key, the last one wins; a list is replaced as a whole. The keys:\n\n" + strings.TrimSuffix(config.Reference(), "\n")
}

func showConfig(c *cli.Context) error {
	switch {
	case c.Bool("check") && c.Bool("json"):
		return usageError{errors.New("--check does not go with --json")}
	case c.Bool("check") && c.Args().Present():
		return checkFiles(c.Args().Slice())
	case c.Args().Present():
		return usageError{fmt.Errorf("config takes arguments only with --check, got %q", c.Args().First())}
	}
	loaded, err := loadConfig(c)
	switch {
	case err != nil || c.Bool("check"):
		return err
	case c.Bool("json"):
		return printJSON(loaded)
	}
	_, err = os.Stdout.WriteString(loaded.TOML())
	return err
}

// checkFiles reports what is wrong with each file, and returns the last error.
func checkFiles(paths []string) error {
	var last error
	for _, path := range paths {
		path, err := expandPath(path)
		if err == nil {
			err = config.Check(path)
		}
		if err == nil {
			continue
		}
		if last != nil {
			logrus.Error(last)
		}
		last = err
	}
	return last
}

// loadConfig reads the site's configuration, or the one that --config names, which may belong to
// the caller, who chose it.
func loadConfig(c *cli.Context) (*config.Config, error) {
	if !c.IsSet("config") {
		return config.Load(config.Options{})
	}
	path, err := configPath(c)
	if err != nil {
		return nil, err
	}
	return config.Load(config.Options{Path: path, Owner: os.Geteuid()})
}

// configPath returns the path that --config names.
func configPath(c *cli.Context) (string, error) {
	path, err := expandPath(c.String("config"))
	if err != nil {
		return "", fmt.Errorf("--config: %w", err)
	}
	if path == "" {
		return "", usageError{errors.New("--config is empty")}
	}
	return path, nil
}
