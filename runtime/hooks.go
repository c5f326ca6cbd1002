package runtime

import (
	"fmt"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
)

// keepPoststart takes the poststart hooks from libcontainer, which would run
// them as part of create. They belong into start, after the application is
// executed (config.md, POSIX-platform Hooks).
func (c *Container) keepPoststart(spec *specs.Spec, config *configs.Config) {
	if spec.Hooks == nil {
		return
	}
	c.Poststart = spec.Hooks.Poststart
	delete(config.Hooks, configs.Poststart)
}

// runPoststart runs the poststart hooks. When one fails the container has to be
// stopped (runtime.md, Lifecycle).
func (c *Container) runPoststart() error {
	if len(c.Poststart) == 0 || gaveUpRoot {
		return nil // with root's surroundings none of the user's programs may run
	}
	awaitExec(c.Init)
	state := &specs.State{
		Version:     specs.Version,
		ID:          c.ID,
		Status:      specs.StateRunning,
		Pid:         c.Init.Pid,
		Bundle:      c.Bundle,
		Annotations: c.Annotations,
	}
	for i, hook := range c.Poststart {
		if err := commandOf(hook).Run(state); err != nil {
			return fmt.Errorf("run poststart hook %d, %s: %w", i, hook.Path, err)
		}
	}
	return nil
}

func commandOf(hook specs.Hook) *configs.Command {
	command := &configs.Command{Path: hook.Path, Args: hook.Args, Env: hook.Env}
	if hook.Timeout != nil {
		limit := time.Duration(*hook.Timeout) * time.Second
		command.Timeout = &limit
	}
	return command
}

// warnOfPoststop has libcontainer run all the poststop hooks, whatever becomes
// of one: a failure is worth a warning and no more (runtime.md, Lifecycle).
func (c *Container) warnOfPoststop(lc *libcontainer.Container) {
	hooks := lc.Config().Hooks[configs.Poststop] // libcontainer's own, no copy
	for i, hook := range hooks {
		hooks[i] = configs.NewFunctionHook(func(state *specs.State) error {
			if err := hook.Run(state); err != nil {
				logrus.Warnf("container %q: run poststop hook %d: %v", c.ID, i, err)
			}
			return nil
		})
	}
}
