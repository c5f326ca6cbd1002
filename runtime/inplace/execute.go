package inplace

import (
	"fmt"
	"os"
	"syscall"
)

// BecomeCommand replaces this process, which is in a container and has the application's rights, by
// the command. It does not return: errors are reported as `run` does.
func BecomeCommand(args, env []string, cwd string) {
	err := execute(&Task{Args: args, Env: env, Cwd: cwd})
	report(err)
	os.Exit(exitStatus(err))
}

func execute(t *Task) error {
	if err := enterDirectory(t.Cwd); err != nil {
		return err
	}
	command, err := t.find()
	if err != nil {
		return err
	}
	err = syscall.Exec(command, t.Args, t.Env)
	return fmt.Errorf("execute %q: %w: %w", t.Args[0], errNotExecutable, err)
}
