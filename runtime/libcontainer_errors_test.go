package runtime

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The words that engines look for in an error are still there, and its cause is wrapped.
func TestExplain(t *testing.T) {
	const stages = "unable to start container process: error during container init: "
	for text, want := range map[string]string{
		stages + `exec: "x": executable file not found in $PATH`:                                   `execute "x": command not found: executable file not found in $PATH`,
		stages + `exec: "x": stat x: no such file or directory`:                                    `execute "x": command not found: no such file or directory`,
		stages + `exec: "x": permission denied`:                                                    `execute "x": command cannot be executed: permission denied`,
		stages + `error mounting "/a" to rootfs at "/b": not a directory`:                          `launch: error mounting "/a" to rootfs at "/b": not a directory`,
		`unable to start container process: ` + `chdir to cwd ("/w") set in config.json failed: x`: `launch: enter working directory "/w": x`,
		`something else: error during container init: x`:                                           `launch: something else: error during container init: x`,
	} {
		if err := libcontainerError("launch", "x", errors.New(text)); err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
	if err := libcontainerError("launch", "x", fmt.Errorf("unable to start container process: %w", unix.EPERM)); !errors.Is(err, unix.EPERM) {
		t.Errorf("%v is no EPERM", err)
	}
}

func TestOfMount(t *testing.T) {
	failed := errors.New(`error mounting "x" to rootfs at "/b": no such device`)
	mounts := []specs.Mount{
		{Destination: "/a", Type: "proc"},
		{Destination: "/bound", Type: "nosuchfs", Options: []string{"rbind"}},
		{Destination: "/b", Type: "nosuchfs"},
	}
	if err := ofMount(mounts, failed); !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), `mount at "/b": the host's kernel has no file system "nosuchfs"`) {
		t.Error(err)
	}
	if err := ofMount(mounts[:2], failed); !errors.Is(err, failed) {
		t.Error(err)
	}
	other := errors.New(`error mounting "x" to rootfs at "/b": invalid argument`)
	if err := ofMount(mounts, other); !errors.Is(err, other) {
		t.Error(err)
	}
}
