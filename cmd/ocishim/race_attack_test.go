package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// raceTime is how long each of the races below is tried.
const raceTime = 1500 * time.Millisecond

// The image itself changes while its mount points are made: a process of
// another container of the same, writable image exchanges a directory for a
// link that leads out of it. What is bound into the cover must be of the image.
func TestSwappedImage(t *testing.T) {
	t.Parallel()
	for name, destination := range map[string]string{
		"beside the root's": "/missing/target",
		"in a directory":    "/srv/deep/missing/target",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := newCanary(t)
			rootfs := copyImage(t)
			base := filepath.Join(rootfs, filepath.Dir(filepath.Dir(destination)))
			if err := os.MkdirAll(filepath.Join(base, "victim"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(host.dir, filepath.Join(base, "link")); err != nil {
				t.Fatal(err)
			}
			keepSwapping(t, filepath.Join(base, "victim"), filepath.Join(base, "link"))
			c := newContainer(t, rootfs, `cd "${0%/*/*}"; cat victim/secret link/secret; echo >victim/written; echo >link/written; echo "it ran"`).ofStep()
			c.spec.Process.Args = append(c.spec.Process.Args, destination)
			c.spec.Root.Readonly = false
			c.bind("/etc/hostname", destination)
			refused := 0
			n := rounds(raceTime, func() {
				out, _ := c.run()
				host.mustBeUntouched(out)
				switch {
				case strings.Contains(out, "it ran"):
				case strings.Contains(out, "exchanged meanwhile"), strings.Contains(out, "without writing to the image"):
					refused++
				default:
					t.Errorf("it failed otherwise: %s", out)
				}
			})
			t.Logf("%d of %d refused", refused, n)
		})
	}
}
