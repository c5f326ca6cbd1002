package main_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// In these images, links replace what a runtime looks for, or makes, before it has entered the
// container. The host's files must not change, and the application must not start with anything of
// them.

// outOf lists links from the directory below the image to the host's directory.
func outOf(t *testing.T, rootfs, dir, host string) map[string]string {
	t.Helper()
	relative, err := filepath.Rel(filepath.Join(rootfs, dir), host)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"absolute": host, "relative": relative, "relative to the root": "../../../../../../../../.." + host}
}

// /dev is a link to a directory of the host with a file ptmx, and nothing is mounted over it
// (CVE-2026-41579 of runc, CVE-2026-47766 of crun).
func TestDevIsLink(t *testing.T) {
	t.Parallel()
	host := newCanary(t, "ptmx")
	rootfs := copyImage(t)
	for name, target := range outOf(t, rootfs, "", host.dir) {
		replaceByLink(t, filepath.Join(rootfs, "dev"), target)
		for _, readonly := range []bool{true, false} {
			engine := newContainer(t, rootfs, "ls /dev/; cat /dev/ptmx").withoutMount("/dev")
			engine.spec.Root.Readonly = readonly
			out, _ := engine.run()
			host.mustBeUntouched(name + ": " + out)
			_ = engine.command("create", engine.id).Run()
			_ = engine.command("start", engine.id).Run()
			host.mustBeUntouched(name)
			out, _ = newContainer(t, rootfs, "ls /dev/; cat /dev/ptmx").withoutMount("/dev").ofStep().run()
			host.mustBeUntouched(name + ": " + out)
		}
		out, err := newContainer(t, rootfs, "ls /dev; test -c /dev/null").run()
		host.mustBeUntouched(name + ": " + out)
		if err != nil && !strings.Contains(out, "/dev") {
			t.Errorf("%s, with mounts: %v: %s", name, err, out)
		}
	}
}

// The image's own /dev is used, with links at the names of devices. /dev/null covers masked files
// (CVE-2025-31133) and replaces standard streams (CVE-2026-88265 of crun). The terminal is mounted
// on /dev/console (CVE-2025-52565), after its file was made (CVE-2026-88264 of crun).
func TestDeviceIsLink(t *testing.T) {
	t.Parallel()
	for _, device := range []string{"null", "console", "ptmx", "pts", "zero"} {
		t.Run(device, func(t *testing.T) {
			t.Parallel()
			host := newCanary(t, "there")
			rootfs := copyImage(t)
			within := imageCanary(t, rootfs)
			for _, target := range []string{host.dir + "/there", host.dir + "/new", "/etc/target", "/etc/masked", "/proc/sys/kernel/core_pattern"} {
				out := tryDevice(t, rootfs, device, target)
				host.mustBeUntouched(out)
				within.mustBeUntouched(out)
				if strings.Contains(out, "mounted in /etc") || device == "console" && !strings.Contains(out, "/dev/console") {
					t.Errorf("%s is a link to %s: %s", device, target, out)
				}
			}
		})
	}
}

// imageCanary makes /etc of the image a canary, with files that links point to: one that no mount
// may cover, and one that maskedPaths hides.
func imageCanary(t *testing.T, rootfs string) *canary {
	t.Helper()
	c := &canary{t: t, dir: filepath.Join(rootfs, "etc")}
	for name, content := range map[string]string{"target": "of the image", "masked": secret} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c.before = c.look()
	return c
}

// tryDevice runs containers, with and without a terminal, that use the image's /dev, in which the
// device is a link.
func tryDevice(t *testing.T, rootfs, device, target string) (output string) {
	t.Helper()
	dev := filepath.Join(rootfs, "dev")
	for _, terminal := range []bool{true, false} {
		if err := errors.Join(os.RemoveAll(dev), os.Mkdir(dev, 0o755), os.Symlink(target, filepath.Join(dev, device))); err != nil {
			t.Fatal(err)
		}
		c := newContainer(t, rootfs, `[ "$(stat -c %t /etc/target)" = 88 ] && echo "a terminal is mounted in /etc"
			echo written >>/etc/masked; cat /etc/masked; [ -c /dev/null ] && echo written >/dev/null; [ -c /dev/console ] && echo written >/dev/console; echo it ran`)
		c.spec.Mounts = slices.DeleteFunc(c.spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev" })
		c.spec.Linux.MaskedPaths = append(c.spec.Linux.MaskedPaths, "/etc/masked")
		c.spec.Root.Readonly = false
		c.spec.Process.Terminal = terminal
		out, _ := c.run()
		output += out
	}
	return output
}

// /proc (CVE-2019-19921, CVE-2023-27561) or /sys is a link of the image: the runtime would work on
// the image's files, and mask nothing.
func TestProcIsLink(t *testing.T) {
	t.Parallel()
	host := newCanary(t, "self/attr/exec")
	rootfs := copyImage(t)
	if err := os.MkdirAll(filepath.Join(rootfs, "fake/self"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"proc", "sys"} {
		targets := outOf(t, rootfs, "", host.dir)
		targets["in the image"], targets["dangling"], targets["to /dev"] = "/fake", "/nowhere", "dev"
		for kind, target := range targets {
			replaceByLink(t, filepath.Join(rootfs, name), target)
			for _, c := range []*container{
				newContainer(t, rootfs, "echo it ran"), newContainer(t, rootfs, "echo it ran").ofStep(),
				newContainer(t, rootfs, "echo it ran").ofStepInPlace(),
			} {
				out, err := c.run()
				host.mustBeUntouched(out)
				if err == nil || !strings.Contains(out, " ordinary directory") {
					t.Errorf("/%s is a link, %s: %v: %s", name, kind, err, out)
				}
			}
		}
		if err := errors.Join(os.Remove(filepath.Join(rootfs, name)), os.Mkdir(filepath.Join(rootfs, name), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
}

// Mounts over /proc, named directly or by a link of the image, would redirect writes of the runtime
// (CVE-2025-52881): labels and sysctls.
func TestMountOverProc(t *testing.T) {
	t.Parallel()
	host := newCanary(t, "sys/net/ipv4/ip_default_ttl", "1/attr/exec", "self/attr/exec", "thread-self/attr/exec")
	rootfs := copyImage(t)
	for link, target := range map[string]string{"link": "/proc", "deep": "link/self", "out": "../../../../../proc/sys"} {
		replaceByLink(t, filepath.Join(rootfs, link), target)
	}
	for _, destination := range []string{
		"/proc", "/tmp/../proc", "/link", "/proc/self/attr", "/deep/attr", "/out/net/ipv4", "/proc/1", "/proc/sysrq-trigger",
	} {
		c := newContainer(t, rootfs, "cat /proc/sys/net/ipv4/ip_default_ttl; echo it ran").bind(host.dir, destination)
		c.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "65"}
		out, err := c.run()
		host.mustBeUntouched(out)
		if err == nil || strings.Contains(out, "it ran") {
			t.Errorf("a directory is mounted over %s: %s", destination, out)
		}
		c.spec.Mounts[len(c.spec.Mounts)-1] = specs.Mount{Destination: destination, Type: "tmpfs", Source: "tmpfs"}
		if out, err := c.run(); err == nil || strings.Contains(out, "it ran") {
			t.Errorf("a tmpfs is mounted over %s: %s", destination, out)
		}
	}
}

// Nothing is mounted at /proc: sysctls go to the kernel, and not to where the image's /proc leads.
func TestSysctlsWithImagesProc(t *testing.T) {
	t.Parallel()
	host := newCanary(t, "ip_default_ttl")
	rootfs := copyImage(t)
	ipv4 := filepath.Join(rootfs, "proc/sys/net/ipv4")
	if err := os.MkdirAll(ipv4, 0o755); err != nil {
		t.Fatal(err)
	}
	replaceByLink(t, filepath.Join(ipv4, "ip_default_ttl"), host.dir+"/ip_default_ttl")
	// A launch by root reads this file, and there is no other.
	kernel := filepath.Join(rootfs, "proc/sys/kernel")
	if err := errors.Join(os.MkdirAll(kernel, 0o755), os.WriteFile(filepath.Join(kernel, "cap_last_cap"), []byte("40\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	within := &canary{t: t, dir: filepath.Join(rootfs, "proc")}
	within.before = within.look()
	c := newContainer(t, rootfs, "exec sleep 600").withoutMount("/proc")
	c.spec.Linux.MaskedPaths, c.spec.Linux.ReadonlyPaths = nil, nil
	c.spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_default_ttl": "65"}
	var out bytes.Buffer
	create := c.command("create", c.id)
	create.Stderr, create.WaitDelay = &out, pace.Of(time.Second) // the container holds it
	err := create.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	host.mustBeUntouched(out.String())
	within.mustBeUntouched(out.String())
	if err != nil {
		if !strings.Contains(out.String(), "unsafe procfs") {
			t.Errorf("it failed otherwise: %v: %s", err, &out)
		}
		return
	}
	enter := []string{"--target", strconv.Itoa(c.pid()), "--net", "cat", "/proc/sys/net/ipv4/ip_default_ttl"}
	if os.Getuid() != 0 {
		enter = append([]string{"--user", "--preserve-credentials"}, enter...)
	}
	if out, err := exec.Command("nsenter", enter...).CombinedOutput(); err != nil || string(out) != "65\n" {
		t.Errorf("the container's net.ipv4.ip_default_ttl is %s, %v, want 65", out, err)
	}
}
