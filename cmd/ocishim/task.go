package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/slurm"
)

// This file does for run-image what Slurm does for run: where IgnoreFileConfigJson is set, Slurm
// neither reads nor writes a config.json.

// environmentMost is the size of the largest file of variables that is read, in bytes. The kernel
// passes no more than 6 MiB to a program.
const environmentMost = 8 << 20

// errNotNUL says that a file of variables is not written as CreateEnvFile=null does.
var errNotNUL = errors.New("no NUL after each variable: oci.conf needs CreateEnvFile=null")

// adoptEnvironment replaces this process's environment by the variables in a file, each with a NUL
// after it. Slurm starts a runtime with the environment of slurmd, and writes the task's to a file.
func adoptEnvironment(path string) error {
	data, err := readRegular(path, environmentMost)
	if err == nil && len(data) > 0 && data[len(data)-1] != 0 {
		err = errNotNUL
	}
	if err != nil {
		return fmt.Errorf("read the task's environment in %q: %w", path, err)
	}
	os.Clearenv()
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if name, value, found := strings.Cut(string(entry), "="); found && name != "" {
			if err := os.Setenv(name, value); err != nil {
				return fmt.Errorf("adopt the task's environment: %w", err)
			}
		}
	}
	return nil
}

// readRegular reads a regular file, and does not wait for a pipe.
func readRegular(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("not a regular file"))
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("larger than %d bytes", most)
	}
	return data, err
}

// bundleForTask loads a bundle, and sets the command and the environment of a task. A variable of
// the bundle overrides the task's, as in Slurm.
func bundleForTask(dir string, command, env []string) (*bundle.Bundle, error) {
	b, err := bundle.Load(dir)
	if err != nil {
		return nil, err
	}
	if err := b.Validate(); err != nil {
		return nil, err
	}
	process := b.Spec.Process
	if len(command) > 0 {
		process.Args = command
	}
	process.Terminal = false // the process has the caller's
	inherited := slices.DeleteFunc(variables(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		_, found := bundle.Getenv(process.Env, name)
		return found
	})
	process.Env = slices.Concat(inherited, process.Env)
	return b, nil
}

// variables returns the entries of the form NAME=VALUE.
func variables(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.IndexByte(entry, '=') <= 0 })
}

// bindBatchScript makes a job's batch script visible to the container at its path, if it is the
// command. It lies in a directory of slurmd's.
func bindBatchScript(spec *specs.Spec, task slurm.Environment) {
	script := spec.Process.Args[0]
	if task.Values().Step != strconv.FormatUint(uint64(slurm.BatchStep), 10) || !filepath.IsAbs(script) || filepath.Base(script) != "slurm_script" {
		return
	}
	if info, err := os.Lstat(script); err != nil || !info.Mode().IsRegular() {
		return
	}
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: script, Source: script, Type: "bind", Options: []string{"bind", "ro"}})
}
