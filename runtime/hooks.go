package runtime

import (
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/process"
)

// keepPoststart moves the poststart hooks from libcontainer's configuration to the record.
// libcontainer would run them as part of create, but they belong to start, after the
// application is executed (config.md, POSIX-platform Hooks).
func (c *Container) keepPoststart(spec *specs.Spec, config *configs.Config) {
	if spec.Hooks == nil {
		return
	}
	c.Poststart = spec.Hooks.Poststart
	delete(config.Hooks, configs.Poststart)
}

// runPoststart runs the poststart hooks, once the application is executed. If one fails,
// the caller must stop the container (runtime.md, Lifecycle). If the first process ends
// before, because a startContainer hook fails for example, it returns errNeverExecuted.
func (c *Container) runPoststart() error {
	if len(c.Poststart) == 0 || gaveUpRoot {
		return nil // no program of the user's may run with root's cgroup and limits
	}
	if !executed(c.Init) {
		return errNeverExecuted
	}
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
			return fmt.Errorf("error running poststart hook #%d: %w", i, err)
		}
	}
	return nil
}

// errNeverExecuted means that the application was never executed.
var errNeverExecuted = errors.New("the first process ended before it became the application; what it said is in the container's stderr")

// executed waits until the first process of a started container has become the
// application, and reports whether it has. A process that has ended and was reaped by its
// parent counts as the application: it may have been quick.
func executed(p process.ID) bool {
	for ; ; time.Sleep(time.Millisecond) {
		st, err := process.ReadStat(p.Pid)
		switch {
		case err != nil || st.Start != p.Start || st.Comm != launchName:
			return true
		case st.Ended():
			return false
		}
	}
}

func commandOf(hook specs.Hook) *configs.Command {
	command := &configs.Command{Path: hook.Path, Args: hook.Args, Env: hook.Env}
	if hook.Timeout != nil {
		limit := time.Duration(*hook.Timeout) * time.Second
		command.Timeout = &limit
	}
	return command
}

// warnOfPoststop makes libcontainer run all poststop hooks, even if some fail: a failure is
// only logged as a warning (runtime.md, Lifecycle).
func (c *Container) warnOfPoststop(lc *libcontainer.Container) {
	hooks := lc.Config().Hooks[configs.Poststop] // libcontainer's own slice, not a copy
	for i, hook := range hooks {
		hooks[i] = configs.NewFunctionHook(func(state *specs.State) error {
			if err := hook.Run(state); err != nil {
				demanded().Warnf("container %q: error running poststop hook #%d: %v", c.ID, i, err)
			}
			return nil
		})
	}
}
