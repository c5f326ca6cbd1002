//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"regexp"
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
	{name: "missing rootfs", noisy: true, run: badBundle("rootfs", withoutRootfs)},
	{name: "unreadable bundle", noisy: true, run: badBundle("bad", func(dir string) error {
		if err := os.Chown(dir, 0, 0); err != nil {
			return err
		}
		return os.Chmod(dir, 0o700)
	})},
	{name: "unreadable rootfs", noisy: true, run: badBundle("rootfs", rootsRootfs)},
	{name: "batch job that cannot start", short: true, noisy: true, run: badBatch},
}

func withoutRootfs(dir string) error { return os.Remove(filepath.Join(dir, "rootfs")) }

func rootsRootfs(dir string) error {
	if err := withoutRootfs(dir); err != nil {
		return err
	}
	return os.Mkdir(filepath.Join(dir, "rootfs"), 0o700)
}

// badBundle spoils a copy of a good bundle; the error must name what is wrong.
func badBundle(named string, spoil func(dir string) error) func(*session) {
	return func(s *session) {
		s.spoiled(spoil)
		r := s.as("alice", "srun", "--container", "/home/alice/bad", "bash", "-c", "echo ran")
		if r.status == 0 {
			s.failf("exit status 0", "a bundle that cannot work, and exit status 0: %q", r.stdout)
		}
		s.wantNamed(r, named)
	}
}

// spoiled makes /home/alice/bad, a spoiled copy of a good bundle.
func (s *session) spoiled(spoil func(dir string) error) {
	dir := s.onHost("/home/alice/bad")
	_ = os.RemoveAll(dir)
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		err = os.Symlink(bundle("alice", "ro")+"/rootfs", filepath.Join(dir, "rootfs"))
	}
	config, readErr := os.ReadFile(filepath.Join(s.onHost(bundle("alice", "ro")), "config.json"))
	if err == nil && readErr == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644)
	}
	if err == nil {
		err = spoil(dir)
	}
	if err != nil || readErr != nil {
		s.failf("test error", "%v, %v", err, readErr)
	}
}

// aboutState matches Slurm's message about a state that it cannot read, in the words of 22.05 and
// of newer versions.
var aboutState = regexp.MustCompile(`JSON parsing error|RunTimeQuery|unable to parse`)

// badBatch: a step before the container exists fails, so there is no state. The job's output must
// show the reason, and no message of Slurm's about the state that it asks for.
func badBatch(s *session) {
	for _, bad := range []struct {
		named string
		spoil func(dir string) error
	}{{"rootfs", withoutRootfs}, {"rootfs", rootsRootfs}, {"ociVersion", func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "config.json"),
			[]byte(`{"ociVersion": "9.9", "process": {"cwd": "/", "args": ["sh"]}, "root": {"path": "rootfs"}}`), 0o644)
	}}} {
		s.spoiled(bad.spoil)
		const out, errs = "/home/alice/out/out.txt", "/home/alice/out/err.txt"
		s.files = append(s.files, out, errs)
		id := s.submit("echo ran", "--container", "/home/alice/bad", "-o", out, "-e", errs)
		state, code := s.jobEnd(id)
		said := s.out("out.txt") + s.out("err.txt")
		if state != "FAILED" || strings.Contains(said, "ran\n") {
			s.failf("job "+state+" "+code, "a bundle that cannot work: job %s, exit code %s: %q", state, code, said)
		}
		if aboutState.MatchString(said) {
			s.failf("noise in the output", "Slurm writes of the state into the job's output: %q", said)
		}
		s.wantNamed(result{stderr: said}, bad.named)
	}
}

// wantNamed expects an error that names what is wrong. With create/start Slurm does not show the
// runtime's message, and a bundle that Slurm itself cannot read never reaches a runtime.
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
