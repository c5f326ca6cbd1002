package runtime

import (
	"github.com/opencontainers/runc/libcontainer/seccomp"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// SetSeccomp installs the filter (config-linux.md, Seccomp) on the calling thread, for good.
// It does not support filters that notify a listener.
func SetSeccomp(filter *specs.LinuxSeccomp) error {
	config, err := specconv.SetupSeccomp(filter)
	if err != nil || config == nil {
		return err
	}
	_, err = seccomp.InitSeccomp(config)
	return err
}
