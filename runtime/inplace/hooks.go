package inplace

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// runHooks runs the hooks of one kind, in order. Each gets the state on stdin, and only its own
// environment. A hook that fails ends the launch (runtime.md, Lifecycle).
func (t *Task) runHooks(moment string, status specs.ContainerState, hooks []specs.Hook) error {
	if len(hooks) == 0 {
		return nil
	}
	state := *t.State
	state.Status = status
	input, err := bundle.Marshal(state)
	if err != nil {
		return fmt.Errorf("run %s hooks: %w", moment, err)
	}
	for i, h := range hooks {
		if err := runHook(h, input); err != nil {
			return fmt.Errorf("run %s hook %d, %s: %w", moment, i, h.Path, err)
		}
	}
	return nil
}

func runHook(h specs.Hook, input []byte) error {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if h.Timeout != nil {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
	}
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Path)
	if len(h.Args) > 0 {
		cmd.Args = h.Args
	}
	var output bytes.Buffer
	cmd.Env, cmd.Stdin = append([]string{}, h.Env...), bytes.NewReader(input)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(output.String()))
	}
	return nil
}
