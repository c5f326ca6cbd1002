package gpu

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/host/fakenode"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
)

func inImage(t *testing.T, image *fakenode.Node, env ...string) Request {
	t.Helper()
	r := ask(t, eight(t), append(env, "SLURM_STEP_GPUS=0")...)
	r.Image = image.Tree()
	return r
}

// The driver is made for glibc; the devices are given anyway.
func TestImagesWithoutGlibc(t *testing.T) {
	for kind, words := range map[string]string{"musl": "the image's programs use musl", "": "the image has no glibc"} {
		o := mustGive(t, inImage(t, fakenode.Image(t, kind)))
		wants(t, "GPUs", o.gpus(), "4")
		says(t, strings.Join(o.Warnings, "\n"), words)
		if o.files[ldcache.Path] != "" || len(o.mounted(private+"/lib")) > 0 {
			t.Errorf("%s: libraries are given", kind)
		}
	}
}

// If the image's glibc cannot load a library, the request fails before anything runs.
func TestOldGlibc(t *testing.T) {
	o := mustGive(t, inImage(t, fakenode.Image(t, "2.28")))
	says(t, strings.Join(o.Warnings, "\n"), "libnvidia-pkcs11-openssl3.so."+version+" is left out: it needs glibc 2.34, and the image has 2.28")
	if o.mounts[private+"/lib/libcuda.so."+version] == "" {
		t.Error("the rest is not given")
	}
	text := refused(t, inImage(t, fakenode.Image(t, "2.12")))
	says(t, text, "of NVIDIA driver "+version+" needs GLIBC_2.17, but the image's /lib/x86_64-linux-gnu/libc.so.6 has only GLIBC_2.12; use an image with glibc 2.17 or newer")
}

func TestImageWithoutLoaderCache(t *testing.T) {
	image := fakenode.Image(t, "2.36")
	image.Remove(ldcache.Path)
	o := mustGive(t, inImage(t, image))
	says(t, strings.Join(o.prepend, " "), "LD_LIBRARY_PATH="+private+"/lib")
	if o.files[ldcache.Path] != "" {
		t.Error("there is a cache")
	}

	image.File(ldcache.Path, "damaged")
	o = mustGive(t, inImage(t, image))
	c, err := ldcache.Parse([]byte(o.files[ldcache.Path]))
	if err != nil || len(c.Lookup("libcuda.so.1", ldcache.Flags("amd64"))) != 1 {
		t.Errorf("cache %v, %v", c, err)
	}
}

// A driver of another version in the image is no longer found.
func TestOlderDriverInImage(t *testing.T) {
	image := fakenode.Image(t, "2.36")
	old := fakenode.ELF{Soname: "libcuda.so.1"}.String()
	image.File("/usr/local/nvidia/lib64/libcuda.so.470.10", old)
	image.Link("/usr/local/nvidia/lib64/libcuda.so.1", "libcuda.so.470.10")
	image.File("/usr/local/cuda/lib64/stubs/libcuda.so.1", old)
	image.File("/opt/compat/libcuda.so.1", old)
	image.LoaderCache("libc.so.6 /lib/x86_64-linux-gnu/libc.so.6", "libcuda.so.1 /usr/local/nvidia/lib64/libcuda.so.1")
	r := inImage(t, image, "LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64:/usr/local/cuda/lib64/stubs:/opt/compat:relative")
	o := mustGive(t, r)
	wants(t, "over the old one", o.mounts["/usr/local/nvidia/lib64/libcuda.so.470.10"], o.mounts[private+"/lib/libcuda.so."+version])
	for _, path := range []string{"/usr/local/cuda/lib64/stubs/libcuda.so.1", "/opt/compat/libcuda.so.1"} {
		if o.mounts[path] != "" {
			t.Errorf("%s is covered", path)
		}
	}
	c, err := ldcache.Parse([]byte(o.files[ldcache.Path]))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "libcuda.so.1", strings.Join(c.Lookup("libcuda.so.1", ldcache.Flags("amd64")), " "), private+"/lib/libcuda.so.1")
}

// LD_LIBRARY_PATH is read by the loader's rules, ld.so(8). Files that the loader skips,
// or that a mount hides, are left alone.
func TestOlderDriverBySearchPath(t *testing.T) {
	old := fakenode.ELF{Soname: "libcuda.so.1"}.String()
	for name, test := range map[string]struct {
		search, at string
		covered    bool
	}{
		"semicolon":               {"/none;/opt/old", "/opt/old", true},
		"token":                   {"/opt/$LIB", "/opt/lib64", true},
		"relative":                {"sub", "/work/sub", true},
		"empty":                   {":/none", "/work", true},
		"through a link":          {"/link/old", "/opt/old", true},
		"for newer processors":    {"/opt/new", "/opt/new/glibc-hwcaps/x86-64-v2", true},
		"below a tmpfs":           {"/scratch/lib", "/scratch/lib", false},
		"in a directory, mounted": {"/site", "/site", false},
	} {
		t.Run(name, func(t *testing.T) {
			image := fakenode.Image(t, "2.36")
			image.File(test.at+"/libcuda.so.1", old)
			image.Link("/link", "opt")
			r := inImage(t, image, "LD_LIBRARY_PATH="+test.search)
			r.Cwd = "/work"
			r.Mounts = append(r.Mounts, specs.Mount{Destination: "/scratch", Type: "tmpfs", Source: "tmpfs"},
				specs.Mount{Destination: "/site", Type: "bind", Source: "/usr/share/nothing", Options: []string{"bind"}})
			at := test.at + "/libcuda.so.1"
			if source := mustGive(t, r).mounts[at]; (source != "") != test.covered {
				t.Errorf("at %s: %q", at, source)
			}
		})
	}
	image := fakenode.Image(t, "2.36")
	image.File("/opt/old/libcuda.so.1", fakenode.ELF{Soname: "libcuda.so.1", Machine: elf.EM_AARCH64}.String())
	if source := mustGive(t, inImage(t, image, "LD_LIBRARY_PATH=/opt/old")).mounts["/opt/old/libcuda.so.1"]; source != "" {
		t.Errorf("%s is over a library of another architecture", source)
	}
}

// In an image that mounts its own /dev, or has none, the files are below /run.
func TestPrivateDirectory(t *testing.T) {
	r := inImage(t, fakenode.Image(t, "2.36"))
	r.Mounts[0].Type = "bind"
	o := mustGive(t, r)
	if o.mounts["/run/.ocishim/gpu/lib/libcuda.so."+version] == "" {
		t.Errorf("mounts %v", names(o.mounts))
	}
}

func TestForwardCompatibility(t *testing.T) {
	tests := map[string]struct {
		version, note string
		used          bool
	}{
		"newer branch":        {"560.35.05", "", true},
		"the same branch":     {"550.90.07", "", false},
		"older branch":        {"535.10", "", false},
		"note names driver":   {"570.10.20", `{"Format":1,"CUDA Version":"12.8","Driver":[535,550]}`, true},
		"note does not":       {"570.10.20", `{"Format":1,"CUDA Version":"12.8","Driver":[535]}`, false},
		"note, but not newer": {"550.10", `{"Driver":[550]}`, false},
		"note is damaged":     {"560.35.05", "{", true}, // as if there were no note
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			image := fakenode.Image(t, "2.36")
			dir := "/usr/local/cuda-12/compat"
			image.File(dir+"/libcuda.so."+test.version, fakenode.ELF{Soname: "libcuda.so.1", Note: test.note}.String())
			image.File(dir+"/libnvidia-nvvm.so."+test.version, fakenode.ELF{Soname: "libnvidia-nvvm.so.4"}.String())
			image.Link(dir+"/libcuda.so.1", "libcuda.so."+test.version)
			image.Link("/usr/local/cuda", "cuda-12")
			o := mustGive(t, inImage(t, image))
			c, err := ldcache.Parse([]byte(o.files[ldcache.Path]))
			if err != nil {
				t.Fatal(err)
			}
			cuda, ml := private+"/lib/libcuda.so.1", private+"/lib/libnvidia-ml.so.1"
			nvvm := private + "/lib/libnvidia-nvvm.so.4"
			if test.used {
				cuda, nvvm = dir+"/libcuda.so."+test.version, dir+"/libnvidia-nvvm.so."+test.version
			}
			flags := ldcache.Flags("amd64")
			wants(t, "libcuda", strings.Join(c.Lookup("libcuda.so.1", flags), " "), cuda)
			wants(t, "libnvidia-nvvm", strings.Join(c.Lookup("libnvidia-nvvm.so.4", flags), " "), nvvm)
			wants(t, "libnvidia-ml", strings.Join(c.Lookup("libnvidia-ml.so.1", flags), " "), ml)
		})
	}
}

// Symbolic links of the image resolve within the image.
func TestHostileImage(t *testing.T) {
	image := fakenode.Image(t, "2.36")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	image.Remove(ldcache.Path)
	image.Link(ldcache.Path, "../../../../../../../.."+secret)
	image.Link("/usr/local/cuda", "/../../../../../..")
	image.Link("/opt/lib", "/../../../../../../usr/lib/x86_64-linux-gnu")
	o := mustGive(t, inImage(t, image, "LD_LIBRARY_PATH=/opt/lib:/proc/self/root:/..", "CUDA_VERSION=9.0"))
	for destination := range o.mounts {
		if strings.Contains(destination, "..") || strings.Contains(destination, image.Root) {
			t.Errorf("a mount at %s", destination)
		}
	}
}
