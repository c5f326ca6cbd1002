package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/pace"
)

// TestSameAtRandom is TestSameByBothLaunchers with random images and configurations.
// OCISHIM_TEST_SEEDS sets their number (300 in `make test-all`), OCISHIM_TEST_SEED runs a single
// one.
func TestSameAtRandom(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root's containers are launched by libcontainer alone; the tests run as a user, too")
	}
	first, count := uint64(1), 24
	if pace.All() {
		count = 300
	}
	if n, err := strconv.Atoi(os.Getenv("OCISHIM_TEST_SEEDS")); err == nil {
		count = n
	}
	if seed, err := strconv.ParseUint(os.Getenv("OCISHIM_TEST_SEED"), 10, 64); err == nil {
		first, count = seed, 1
	}
	for seed := first; seed < first+uint64(count); seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			c := randomCase(rand.New(rand.NewPCG(seed, 0)))
			c.try(t)
		})
	}
}

// one chooses one of the words.
func one[T any](r *rand.Rand, words ...T) T { return words[r.IntN(len(words))] }

// randomCase returns a case that may fail. The launchers must agree and, if it does not fail, what
// hpc mounts must be there.
func randomCase(r *rand.Rand) sameCase {
	c := sameCase{fails: "either", step: r.IntN(4) == 0}
	var image []func(p *samePlace, rootfs string) error
	for range r.IntN(4) {
		image = append(image, randomThing(r))
	}
	c.image = func(p *samePlace, rootfs string) error {
		for _, change := range image {
			if err := change(p, rootfs); err != nil && !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOTDIR) &&
				!errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EACCES) {
				return err
			}
		}
		return nil
	}
	c.config = one(r, "", "hpc.tmp = false\n", "hpc.workdir = false\n", "hpc.etc = [\"hosts\", \"passwd\"]\n")
	if r.IntN(2) == 0 {
		c.config += "[[hpc.mounts]]\nsource = \"SITE\"\n" + one(r, "", "destination = \"/opt/x\"\n", "destination = \"/etc/x\"\n", "destination = \"/run/a/b\"\n") +
			"options = [" + one(r, "", `"ro"`, `"bind"`, `"nosuid", "nodev"`) + "]\n"
	}
	var changes []func(p *samePlace, s *specs.Spec)
	for range r.IntN(4) {
		changes = append(changes, randomMount(r), randomProcess(r))
	}
	c.spec = func(p *samePlace, s *specs.Spec) {
		for _, change := range changes {
			change(p, s)
		}
	}
	return c
}

// places are paths where the image can be in the way of something.
var places = []string{"/etc", "/etc/passwd", "/etc/hosts", "/etc/resolv.conf", "/tmp", "/home", "/opt", "/opt/x", "/mnt", "/run", "/run/a", "/var", "/WORK", "/SITE", "/usr/lib"}

// randomThing puts something into the image that may lead anywhere.
func randomThing(r *rand.Rand) func(p *samePlace, rootfs string) error {
	place, kind := one(r, places...), r.IntN(7)
	target := one(r, "../tmp/x", "/tmp/x", "TMP", "TMP/deep", "SITE", "SITE/file", "SITE/made", "WORK/made", "x", "/x/y", ".", "..", "/", "/etc", "/opt", "etc", "usr/lib", "/dev/null", "/proc/self/root", "/run/a", "../../../../TMP")
	return func(p *samePlace, rootfs string) error {
		replace := strings.NewReplacer("/WORK", p.work, "/SITE", p.site, "WORK", p.work, "SITE", p.site, "TMP", p.tmp)
		at := filepath.Join(rootfs, replace.Replace(place))
		parent, err := filepath.EvalSymlinks(filepath.Dir(at))
		if err == nil && !strings.HasPrefix(parent, rootfs) {
			return nil // it would not be in the image
		}
		if info, serr := os.Stat(parent); err == nil && (serr != nil || !info.IsDir()) {
			return nil // RemoveAll would block on a fifo
		}
		if err := errors.Join(os.RemoveAll(at), os.MkdirAll(filepath.Dir(at), 0o755)); err != nil {
			return err
		}
		switch kind {
		case 0:
			f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NONBLOCK, 0o644)
			if err == nil {
				err = f.Close()
			}
			return err
		case 1:
			return os.MkdirAll(at+"/full", 0o755)
		case 2:
			return unix.Mkfifo(at, 0o666)
		}
		return os.Symlink(replace.Replace(target), at)
	}
}

func randomMount(r *rand.Rand) func(p *samePlace, s *specs.Spec) {
	destination := one(r, "/mnt", "/mnt/deep/er", "/opt", "/opt/x/sub", "/etc/hosts", "/etc/new", "/tmp/x", "/run", "/run/a/b", "/WORK", "/SITE/sub", "/SITE/new", "/home/x", "/usr/lib", "/var/../srv")
	options := []string{one(r, "bind", "rbind")}
	for range r.IntN(3) {
		options = append(options, one(r, "ro", "rw", "nosuid", "nodev", "noexec", "exec", "rprivate", "slave", "relatime", "dev", "suid"))
	}
	source, tmpfs := one(r, "/", "/file", "/sub", "/none"), r.IntN(3) == 0
	words := []string{one(r, "mode=0755", "mode=1777", "size=1m", "nosuid", "ro", "uid=0", "noexec")}
	return func(p *samePlace, s *specs.Spec) {
		at := strings.NewReplacer("/WORK", p.work, "/SITE", p.site).Replace(destination)
		if tmpfs {
			s.Mounts = append(s.Mounts, tmpfsOf(at, words...))
			return
		}
		s.Mounts = append(s.Mounts, bindOf(filepath.Clean(p.site+source), at, options...))
	}
}

func randomProcess(r *rand.Rand) func(p *samePlace, s *specs.Spec) {
	switch r.IntN(6) {
	case 0:
		cwd := one(r, "/", "/opt/app", "/tmp", "/tmp/none", "/etc/x", "/mnt/cwd", "/usr/../srv/app")
		return func(_ *samePlace, s *specs.Spec) { s.Process.Cwd = cwd }
	case 1:
		umask := uint32(one(r, 0, 0o22, 0o77))
		return func(_ *samePlace, s *specs.Spec) { s.Process.User.Umask = &umask }
	case 2:
		entry := one(r, "HOME=", "HOME=/x", "PATH=/usr:/bin", "A=\xe9", "A=1", "B", "B==")
		return func(_ *samePlace, s *specs.Spec) { s.Process.Env = append(s.Process.Env, entry) }
	case 3:
		return func(_ *samePlace, s *specs.Spec) { s.Root.Readonly = !s.Root.Readonly }
	case 4:
		arg := fmt.Sprintf("/some%c", r.IntN(256))
		return func(_ *samePlace, s *specs.Spec) {
			s.Process.Args = append(s.Process.Args, strings.ReplaceAll(arg, "\x00", ""))
		}
	}
	return func(_ *samePlace, s *specs.Spec) { s.Process.NoNewPrivileges = false }
}
