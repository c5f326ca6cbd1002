package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Mount points that an image lacks are made beside it. Whatever the image has on the way to them,
// or beside them, nothing may lead out of it, change it, or block the launch.
func TestMountPointsInHostileImage(t *testing.T) {
	t.Parallel()
	host := newCanary(t, "slurm/startup", "there")
	for name, hostile := range map[string]func(rootfs string) error{
		"tmp is a link": func(rootfs string) error {
			return errors.Join(os.RemoveAll(rootfs+"/tmp"), os.Symlink(host.dir, rootfs+"/tmp"))
		},
		"a link to the host": func(rootfs string) error { return os.Symlink(host.dir, rootfs+"/tmp/slurm") },
		"a link upwards": func(rootfs string) error {
			return os.Symlink("../../../../../../../../.."+host.dir+"/slurm", rootfs+"/tmp/slurm")
		},
		"the target is a link": func(rootfs string) error {
			return errors.Join(os.Mkdir(rootfs+"/tmp/slurm", 0o755), os.Symlink(host.dir+"/there", rootfs+"/tmp/slurm/startup"))
		},
		"links in a circle": func(rootfs string) error {
			return errors.Join(os.Symlink("other", rootfs+"/tmp/slurm"), os.Symlink("slurm", rootfs+"/tmp/other"))
		},
		"links beside": func(rootfs string) error {
			return errors.Join(os.Symlink(host.dir, rootfs+"/link"), os.Symlink(host.dir+"/there", rootfs+"/tmp/link"), os.Symlink("/proc/self/root", rootfs+"/root-of"))
		},
		"fifos beside": func(rootfs string) error {
			return errors.Join(unix.Mkfifo(rootfs+"/fifo", 0o666), unix.Mkfifo(rootfs+"/tmp/fifo", 0o666))
		},
		"sockets and closed directories beside": func(rootfs string) error {
			return errors.Join(unix.Mknod(rootfs+"/tmp/socket", unix.S_IFSOCK|0o666, 0), os.Mkdir(rootfs+"/tmp/closed", 0))
		},
		"odd names": func(rootfs string) error {
			return errors.Join(os.Mkdir(rootfs+"/a b\n\\040:,=", 0o755), os.WriteFile(rootfs+"/tmp/\xff \t#", nil, 0o644),
				os.Mkdir(rootfs+"/"+strings.Repeat("x", 255), 0o755), os.Mkdir(rootfs+"/0", 0o755))
		},
		"a file on the way": func(rootfs string) error { return os.WriteFile(rootfs+"/tmp/slurm", nil, 0o644) },
		"a fifo on the way": func(rootfs string) error { return unix.Mkfifo(rootfs+"/tmp/slurm", 0o666) },
		"the target is a fifo": func(rootfs string) error {
			return errors.Join(os.Mkdir(rootfs+"/tmp/slurm", 0o755), unix.Mkfifo(rootfs+"/tmp/slurm/startup", 0o666))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rootfs := copyImage(t)
			if err := hostile(rootfs); err != nil {
				t.Fatal(err)
			}
			image := &canary{t: t, dir: filepath.Join(rootfs, "tmp")}
			if info, err := os.Lstat(image.dir); err != nil || !info.IsDir() {
				image.dir = filepath.Join(rootfs, "etc")
			}
			image.before = image.names()
			script := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(script, []byte("the script"), 0o755); err != nil {
				t.Fatal(err)
			}
			const command = `cat /tmp/slurm/startup; echo; echo "it ran"; echo written >>/tmp/slurm/startup`
			for launch, c := range map[string]*container{
				"by libcontainer": newContainer(t, rootfs, command).ofStep(),
				"in place":        newContainer(t, rootfs, command).ofStepInPlace(),
			} {
				c.bind(script, "/tmp/slurm/startup", "ro").bind(t.TempDir(), "/spool/of/slurm")
				out, err := c.run()
				host.mustBeUntouched(out)
				if after := image.names(); after != image.before {
					t.Errorf("the image had\n%sand has\n%s", image.before, after)
				}
				// An obstacle is an error; otherwise the image works like any other.
				inTheWay := strings.Contains(name, "on the way") || strings.Contains(name, "circle") || name == "tmp is a link"
				if !strings.Contains(out, "the script\nit ran") && (!inTheWay || !strings.Contains(out, "ocishim: error: ")) {
					t.Errorf("%s: %v: %s", launch, err, out)
				}
			}
		})
	}
}

// names lists what the directory contains, without opening anything in it.
func (c *canary) names() string {
	c.t.Helper()
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	var list strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			c.t.Fatal(err)
		}
		fmt.Fprintf(&list, "%q %v %d\n", e.Name(), info.Mode(), info.Size())
	}
	return list.String()
}
