package gpu_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const inContainer = "/dev/.ocishim/gpu/lib/libcuda.so." + driverVersion

// The loader of a real image finds the driver, linked or opened by name, whatever cache
// the image has, and nothing writes to the image.
func TestLoaderFindsDriver(t *testing.T) {
	if _, err := os.Stat("/sbin/ldconfig"); err != nil {
		lacks(t, "no ldconfig here")
	}
	asUsers(t, func(t *testing.T, user int) {
		for _, cache := range []string{"none", "new", "compat"} {
			t.Run(cache, func(t *testing.T) {
				m := newMachine(t, user)
				if cache != "none" {
					m.ldconfig(t, cache)
				}
				out := m.run(t, m.request(t), "sh", "-c", "linked; opens libcuda.so.1 libcuda.so; cat /proc/self/mounts >/dev/null")
				expect(t, out, "linked "+hostCUDA,
					"libcuda.so.1: "+hostCUDA+" from "+inContainer,
					"libcuda.so: "+hostCUDA+" from "+inContainer)
			})
		}
	})
}

// In place, with the host's own /dev, the files are elsewhere and everything else is
// the same; the kernel module's parameters are also there.
func TestLoaderInPlace(t *testing.T) {
	m := newMachine(t, userOnly(t))
	m.hpc = true
	m.ldconfig(t, "new")
	const at = "/run/.ocishim/gpu/node/0/libcuda.so." + driverVersion
	out := m.run(t, m.request(t), "sh", "-c", "linked; opens libcuda.so.1 libcuda.so; cat /proc/driver/nvidia/params 2>/dev/null || ls -d /proc/self/root; readlink /run/.ocishim/gpu/lib/libcuda.so")
	expect(t, out, "linked "+hostCUDA, "libcuda.so.1: "+hostCUDA+" from "+at, "libcuda.so: "+hostCUDA+" from "+at, "/proc/self/root", "libcuda.so.1")
}

// With either launcher, a container of the hpc profile finds in its /dev what the host
// has, except other tasks' GPUs. (The host's devices are plain files here.)
func TestOwnDevInContainer(t *testing.T) {
	for name, supervised := range map[string]bool{"in place": false, "libcontainer": true} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, userOnly(t))
			m.hpc, m.supervised = true, supervised
			m.node.Device("/dev/nvidia1", 195, 1)
			m.node.Device("/dev/dri/renderD200", 226, 200) // not a GPU's
			m.ldconfig(t, "new")
			m.node.Device("/dev/null", 1, 3)
			m.node.Device("/dev/ptmx", 5, 2)
			m.node.Dir("/dev/pts")
			m.node.Device("/dev/pts/ptmx", 5, 2)
			m.node.Deny("/dev/pts/ptmx", unix.EACCES, 0)
			m.node.Device("/dev/console", 5, 1)
			m.node.Device("/dev/some/where", 1, 4)
			m.node.Link("/dev/fd", "/proc/self/fd")
			r := m.request(t)
			r.Env = append(r.Env[2:], "SLURM_STEP_GPUS=1", "CUDA_VISIBLE_DEVICES=1")
			out := m.run(t, r, "sh", "-c", "cd /dev; ls -1; ls dri some; cat nvidia1; readlink fd; exec 3<>ptmx && ls pts; touch x 2>&1 || linked; echo $CUDA_VISIBLE_DEVICES")
			if first, rest, _ := strings.Cut(out, "\n"); strings.HasPrefix(first, "time=") {
				out = rest // libcontainer's warning that there is no cgroup
			}
			expect(t, out, "console", "dri", "fd", "null", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools", "nvidia1", "nvidiactl", "ptmx", "pts", "some",
				"dri:", "renderD200", "", "some:", "where", "c 195 1 666 0 ok", "/proc/self/fd", "0", "ptmx",
				"touch: cannot touch 'x': Read-only file system", "linked "+hostCUDA, "0")
		})
	}
}

// Without the edits the same programs find nothing: only the edits make the difference.
func TestLoaderWithoutDriver(t *testing.T) {
	m := newMachine(t, os.Getuid())
	r := m.request(t)
	r.Env = r.Env[2:] // no GPU requested
	out := m.run(t, r, "sh", "-c", "linked 2>/dev/null || echo not found")
	expect(t, out, "not found")
}

// The image's own libraries are found as before, and the driver in addition.
func TestImageWithOlderDriver(t *testing.T) {
	m := newMachine(t, os.Getuid())
	gcc := "gcc"
	old := m.image("/usr/lib/libcuda.so.470.10")
	compile(t, gcc, "driver.c", old, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-DVALUE=470")
	for _, link := range []string{"/usr/lib/libcuda.so.1", "/usr/lib/libcuda.so"} {
		if err := os.Symlink("libcuda.so.470.10", m.image(link)); err != nil {
			t.Fatal(err)
		}
	}
	m.ldconfig(t, "new")
	expect(t, m.run(t, m.request(t), "sh", "-c", "linked; opens libcuda.so.1 libcuda.so"),
		"linked "+hostCUDA, "libcuda.so.1: "+hostCUDA+" from "+inContainer, "libcuda.so: "+hostCUDA+" from "+inContainer)
	// LD_LIBRARY_PATH comes before any cache: the file itself is covered.
	expect(t, m.run(t, m.request(t, "LD_LIBRARY_PATH=/usr/lib"), "linked"), "linked "+hostCUDA)
}

// The image's libraries for forward compatibility are used if they are newer.
func TestForwardCompatibilityOfImage(t *testing.T) {
	m := newMachine(t, os.Getuid())
	if err := os.MkdirAll(m.image("/usr/local/cuda/compat"), 0o755); err != nil {
		t.Fatal(err)
	}
	compile(t, "gcc", "driver.c", m.image("/usr/local/cuda/compat/libcuda.so.570.10"), "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-DVALUE=570")
	if err := os.Symlink("libcuda.so.570.10", m.image("/usr/local/cuda/compat/libcuda.so.1")); err != nil {
		t.Fatal(err)
	}
	const compat = "libcuda.so.1: 570 from /usr/local/cuda/compat/libcuda.so.570.10"
	expect(t, m.run(t, m.request(t), "opens", "libcuda.so.1"), compat)
	m.ldconfig(t, "new")
	expect(t, m.run(t, m.request(t), "sh", "-c", "linked; opens libcuda.so.1"), "linked 570", compat)
}

// Programs, configuration and links are in the documented places.
func TestFilesInContainer(t *testing.T) {
	asUsers(t, func(t *testing.T, user int) {
		m := newMachine(t, user)
		m.ldconfig(t, "new")
		if err := os.WriteFile(m.node.Path("/usr/bin/nvidia-smi"), []byte("#!/bin/sh\necho smi\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		out := m.run(t, m.request(t, "NVIDIA_DRIVER_CAPABILITIES=all"), "sh", "-c", `
			nvidia-smi
			readlink /dev/.ocishim/gpu/lib/libcuda.so /dev/.ocishim/gpu/lib/libcuda.so.1 /dev/.ocishim/gpu/lib/gbm/nvidia-drm_gbm.so
			ls $OCL_ICD_VENDORS
			cat /etc/nvidia/nvidia-application-profiles-rc.d/10-container.conf; echo
			touch /dev/.ocishim/gpu/lib/x 2>/dev/null && echo writable
			(echo > /dev/.ocishim/gpu/lib/libcuda.so.1) 2>/dev/null && echo writable
			ls -d /usr/bin/linked /etc/passwd`)
		expect(t, out, "smi", "libcuda.so.1", "libcuda.so."+driverVersion, "../libnvidia-allocator.so.1", "nvidia.icd",
			`{"profiles":[{"name":"ocishim","settings":["EGLVisibleDGPUDevices",1]}],"rules":[{"pattern":[],"profile":"ocishim"}]}`,
			"/etc/passwd", "/usr/bin/linked")
	})
}

// The image belongs to another user and has another distribution's programs and glibc,
// if hack/cluster made one.
func TestLoaderOfDebianRoots(t *testing.T) {
	for _, release := range []string{"bookworm", "trixie"} {
		t.Run(release, func(t *testing.T) {
			root, err := filepath.Abs(filepath.Join("..", "build", release))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(root + "/etc/ld.so.cache"); err != nil {
				lacks(t, "no build/"+release+" here: hack/cluster root --mpi makes it")
			}
			asUsers(t, func(t *testing.T, user int) {
				m := newMachine(t, user)
				m.rootfsFrom(t, root)
				expect(t, m.run(t, m.request(t), "/usr/bin/perl", "-e", `
					require DynaLoader;
					for ("libcuda.so.1", "libcuda.so") { print DynaLoader::dl_load_file($_, 0) ? "loaded $_\n" : DynaLoader::dl_error() . "\n" }`),
					"loaded libcuda.so.1", "loaded libcuda.so")
			})
		})
	}
}

// rootfsFrom makes the bundle use a root file system elsewhere that must not be
// written.
func (m *machine) rootfsFrom(t *testing.T, root string) {
	t.Helper()
	if err := os.RemoveAll(m.image("/")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(m.dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
}
