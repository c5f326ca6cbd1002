package scrun

import (
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// remoteName is the directory with the nodes' config.json in the engine's bundle.
const remoteName = "ocishim-scrun"

// stageIn brings the bundle to where the nodes find it, and notes beforehand what
// is to be removed.
func (c *Container) stageIn(b *bundle.Bundle, spec *specs.Spec, s Site) error {
	dir := filepath.Join(b.Dir, remoteName)
	if s.Bundles != "" {
		dir = filepath.Join(c.expand(s.Bundles), remoteName+"-"+c.Token)
	}
	if err := c.update(func(r *Record) { r.LocalDir, r.Remote = dir, dir }); err != nil {
		return err
	}
	spec.Process.Env = append(spec.Process.Env, outputVariables(&c.Record)...)
	return writeSpec(dir, spec)
}

func (c *Container) stageOut() error { return nil }

// unstage removes what stageIn made on this machine.
func (c *Container) unstage() error {
	if c.LocalDir == "" {
		return nil
	}
	if err := os.RemoveAll(c.LocalDir); err != nil {
		return fmt.Errorf("remove what was staged: %w", err)
	}
	return nil
}

func (c *Container) expand(pattern string) string { return pattern }
