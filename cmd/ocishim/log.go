package main

import (
	"fmt"
	"maps"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/runtime"
)

// setUpLog directs messages to two places. stderr gets one line for each error and for each warning
// that the specification demands, and more only if asked for: the stderr of a Slurm task belongs to
// the user. The file that --log names also gets all warnings, in runc's format, which the engines
// read.
func setUpLog(c *cli.Context) error {
	level, logged := logrus.ErrorLevel, logrus.WarnLevel
	if name := c.String("log-level"); name != "" {
		parsed, err := logrus.ParseLevel(name)
		if err != nil {
			return usageError{fmt.Errorf("--log-level %q: choose debug, info, warning or error", name)}
		}
		level, logged = parsed, parsed
	}
	if c.Bool("debug") || c.Bool("verbose") {
		level, logged = logrus.DebugLevel, logrus.DebugLevel
	}
	logrus.SetLevel(max(level, logged))
	logrus.SetFormatter(lineFormatter{level, logged})
	format, err := logFormat(c.String("log-format"))
	if err != nil {
		return err
	}
	path, err := expandPath(c.String("log"))
	if err != nil || path == "" {
		return err
	}
	f, err := runtime.OpenLog(path)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if slices.Contains([]string{"create", "exec"}, c.Args().First()) {
		// Called by an engine that names a log: stderr is the container's.
		logrus.SetFormatter(lineFormatter{level, level})
	}
	logFile = &logrus.Logger{Out: f, Formatter: format, Level: logged, Hooks: logrus.LevelHooks{}}
	logrus.AddHook(copyToLog{logFile})
	return nil
}

func logFormat(name string) (logrus.Formatter, error) {
	switch name {
	case "text", "":
		return &logrus.TextFormatter{DisableColors: true}, nil
	case "json":
		return new(logrus.JSONFormatter), nil
	}
	return nil, usageError{fmt.Errorf("--log-format %q: choose text or json", name)}
}

// lineFormatter prints `ocishim: level: message` for messages down to the level least, and for
// those that the specification demands down to the level demanded.
type lineFormatter struct{ least, demanded logrus.Level }

// Format implements logrus.Formatter.
func (f lineFormatter) Format(e *logrus.Entry) ([]byte, error) {
	if level := levelOf(e); level > f.least && (level > f.demanded || !runtime.Demanded(e)) {
		return nil, nil
	}
	return fmt.Appendf(nil, "ocishim: %s: %s\n", e.Level, strings.TrimSpace(e.Message)), nil
}

// copyToLog also writes to the log file what goes to stderr.
type copyToLog struct{ log *logrus.Logger }

// Levels implements logrus.Hook.
func (copyToLog) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (h copyToLog) Fire(e *logrus.Entry) error {
	data := maps.Clone(e.Data)
	delete(data, runtime.DemandedKey)
	h.log.WithFields(data).Log(levelOf(e), e.Message)
	return nil
}

// levelOf returns the message's level. It lowers the level of a message that libcontainer adds to
// every failed launch without a cgroup: it has no consequences.
func levelOf(e *logrus.Entry) logrus.Level {
	if e.Message == "unable to get oom kill count" {
		return logrus.DebugLevel
	}
	return e.Level
}

// printVersion prints the lines of runc's --version: Docker and containerd look for commit and spec
// in it, and Podman shows it.
func printVersion() {
	fmt.Printf("ocishim version %s\ncommit: %s\nspec: %s\ngo: %s\n", version, commit, specs.Version, goruntime.Version())
	if v := runtime.SeccompVersion(); v != "" {
		fmt.Printf("libseccomp: %s\n", v)
	}
}
