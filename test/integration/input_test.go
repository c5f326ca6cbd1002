//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"strings"
)

// inputScenarios: bundles that cannot work. The user must see why, and not status 0.
var inputScenarios = []scenario{
	{name: "missing config.json", noisy: true, run: badBundle("config.json", func(dir string) error {
		return os.Remove(filepath.Join(dir, "config.json"))
	})},
	{name: "broken config.json", noisy: true, run: badBundle("config.json", func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"ociVersion": "1.0.2", "process": {`), 0o644)
	})},
	{name: "missing rootfs", noisy: true, run: badBundle("rootfs", func(dir string) error {
		return os.Remove(filepath.Join(dir, "rootfs"))
	})},
	{name: "unreadable bundle", noisy: true, run: badBundle("bad", func(dir string) error {
		if err := os.Chown(dir, 0, 0); err != nil {
			return err
		}
		return os.Chmod(dir, 0o700)
	})},
	{name: "unreadable rootfs", noisy: true, run: badBundle("rootfs", func(dir string) error {
		if err := os.Remove(filepath.Join(dir, "rootfs")); err != nil {
			return err
		}
		return os.Mkdir(filepath.Join(dir, "rootfs"), 0o700) // root's
	})},
}

// badBundle spoils a copy of a good bundle; the error must name what is wrong.
func badBundle(named string, spoil func(dir string) error) func(*session) {
	return func(s *session) {
		dir := s.onHost("/home/alice/bad")
		good := s.onHost(bundle("alice", "ro"))
		_ = os.RemoveAll(dir)
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			err = os.Symlink(filepath.Join("/home/alice/bundles/ro/rootfs"), filepath.Join(dir, "rootfs"))
		}
		config, readErr := os.ReadFile(filepath.Join(good, "config.json"))
		if err == nil && readErr == nil {
			err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644)
		}
		if err == nil {
			err = spoil(dir)
		}
		if err != nil {
			s.failf("test error", "%v", err)
		}
		r := s.as("alice", "srun", "--container", "/home/alice/bad", "bash", "-c", "echo ran")
		if r.status == 0 {
			s.failf("exit status 0", "a bundle that cannot work, and exit status 0: %q", r.stdout)
		}
		s.wantNamed(r, named)
	}
}

// wantNamed wants an error that names what is wrong. By create/start Slurm does not show
// what the runtime says; and what it cannot read itself never gets to a runtime.
func (s *session) wantNamed(r result, named string) {
	switch {
	case strings.Contains(r.stderr, named):
		return
	case s.mode == "create", strings.Contains(r.stderr, "error: Task launch for StepId="):
		s.slurms("error message")
		return
	}
	s.failf("no clear error", "the error does not name %s: %q", named, r.stderr)
}
