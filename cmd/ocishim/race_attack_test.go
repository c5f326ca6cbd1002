package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// raceTime is how long each of the races below is tried.
const raceTime = 1500 * time.Millisecond

// The image itself changes while its mount points are made: a process in another container of the
// same writable image exchanges a directory for a link that leads out of it. What is bound into the
// cover must be from the image.
func TestSwappedImage(t *testing.T) {
	t.Parallel()
	const script = `cd "${0%/*/*}"; cat victim/secret link/secret; echo >victim/written; echo >link/written; echo "it ran"`
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
			for launch, c := range map[string]*container{
				"by libcontainer": newContainer(t, rootfs, script).ofStep(),
				"in place":        newContainer(t, rootfs, script).ofStepInPlace(),
			} {
				c.spec.Process.Args = append(c.spec.Process.Args, destination)
				c.spec.Root.Readonly = false
				c.bind("/etc/hostname", destination)
				refused := 0
				n := rounds(raceTime, func() {
					out, _ := c.run()
					host.mustBeUntouched(out)
					switch {
					case strings.Contains(out, "it ran"):
					case strings.Contains(out, "it was exchanged for something outside"), strings.Contains(out, "without writing to the image"),
						strings.Contains(out, "no such file or directory"): // within the image the link leads nowhere
						refused++
					default:
						t.Errorf("%s: it failed otherwise: %s", launch, out)
					}
				})
				t.Logf("%s: %d of %d refused", launch, refused, n)
			}
		})
	}
}

// Two containers share a volume. One exchanges a directory in it for a link that leads out, while a
// mount is made below that directory for the other (CVE-2021-30465), or its mount point
// (CVE-2024-45310).
func TestSwappedMountTarget(t *testing.T) {
	t.Parallel()
	host := newCanary(t, "way/target")
	volume := t.TempDir()
	err := errors.Join(os.Mkdir(filepath.Join(volume, "on"), 0o755), os.Symlink(host.dir, filepath.Join(volume, "link")))
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, []byte("the mounted file"), 0o644); err != nil {
		t.Fatal(err)
	}
	keepSwapping(t, filepath.Join(volume, "on"), filepath.Join(volume, "link"))
	c := newContainer(t, copyImage(t), "cat /volume/*/way/target; echo it ran").bind(volume, "/volume")
	c.bind(source, "/volume/on/way/target").bind(t.TempDir(), "")
	ran := 0
	n := rounds(raceTime, func() {
		last := &c.spec.Mounts[len(c.spec.Mounts)-1]
		last.Destination = fmt.Sprintf("/volume/on/new/%d", serial.Add(1)) // a new one each time
		out, err := c.run()
		host.mustBeUntouched(out)
		if err == nil && strings.Contains(out, "it ran") {
			ran++
		}
	})
	t.Logf("%d of %d ran", ran, n)
	if ran == 0 {
		t.Error("it never ran")
	}
}

// A volume is mounted at /dev. Another container exchanges links in it for the null device, which
// masks files, and for the console (the races of CVE-2025-31133 and CVE-2025-52565).
func TestSwappedDevice(t *testing.T) {
	needRoot(t) // only root can make devices
	t.Parallel()
	for _, device := range []string{"null", "console"} {
		t.Run(device, func(t *testing.T) {
			t.Parallel()
			rootfs, dev := copyImage(t), t.TempDir()
			within := imageCanary(t, rootfs)
			if err := unix.Mknod(filepath.Join(dev, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
				t.Fatal(err)
			}
			for _, dir := range []string{"pts", "shm", "mqueue"} {
				if err := os.Mkdir(filepath.Join(dev, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for link, target := range map[string]string{"ptmx": "pts/ptmx", "link": "/etc/target"} {
				replaceByLink(t, filepath.Join(dev, link), target)
			}
			if device == "console" {
				if err := os.WriteFile(filepath.Join(dev, device), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			keepSwapping(t, filepath.Join(dev, device), filepath.Join(dev, "link"))
			c := newContainer(t, rootfs, `[ "$(stat -c %t /etc/target)" = 88 ] && echo "a terminal is mounted in /etc"
				echo written >>/etc/masked; cat /etc/masked; [ "$(stat -c %t /etc/masked)" = 1 ] || echo "the mask is no null device"; echo it ran`)
			c.spec.Linux.MaskedPaths = append(c.spec.Linux.MaskedPaths, "/etc/masked")
			c.spec.Root.Readonly = false
			c.spec.Process.Terminal = device == "console"
			for i, m := range c.spec.Mounts {
				if m.Destination == "/dev" {
					c.spec.Mounts[i] = specs.Mount{Destination: "/dev", Type: "bind", Source: dev, Options: []string{"rbind"}}
				}
			}
			ran := 0
			n := rounds(raceTime, func() {
				out, _ := c.run()
				within.mustBeUntouched(out)
				if strings.Contains(out, "mounted in /etc") || strings.Contains(out, "no null device") {
					t.Error(out)
				}
				ran += strings.Count(out, "it ran")
			})
			t.Logf("%d of %d ran", ran, n)
			if ran == 0 {
				t.Error("it never ran")
			}
		})
	}
}
