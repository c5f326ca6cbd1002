package explain

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/gpu"
	"github.com/ocishim/ocishim/internal/host/fakenode"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/linker/ldcache"
	"github.com/ocishim/ocishim/internal/scene"
)

// planned is a container with a GPU of a fake host, in an image with or without a
// loader's cache.
func planned(t *testing.T, cache bool) (*bundle.Bundle, *fakenode.Node) {
	t.Helper()
	node, image := fakenode.New(t), fakenode.Image(t, "2.36")
	node.NVIDIA(fakenode.NVIDIA{GPUs: 1, Driver: "550.54.15", LibDir: "/usr/lib64"})
	if !cache {
		image.Remove(ldcache.Path)
	}
	b := &bundle.Bundle{Spec: config()}
	b.Spec.Process.Env = []string{"SLURM_STEP_GPUS=0", "NVIDIA_DRIVER_CAPABILITIES=all"}
	result, err := gpu.Edits(gpu.Request{
		Scene: scene.Scene{Host: node.Tree(), Image: image.Tree(), Arch: "amd64", Env: b.Spec.Process.Env, Mounts: b.Spec.Mounts},
		Slurm: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(result.Edits...); err != nil {
		t.Fatal(err)
	}
	return b, image
}

// verify returns the findings by library; sources of mounts are in the real file
// system.
func verify(t *testing.T, b *bundle.Bundle, image *fakenode.Node) map[string]Finding {
	t.Helper()
	machine := (&fakenode.Node{T: t, Root: "/"}).Tree()
	found := map[string]Finding{}
	for _, f := range Verify(b, machine, image.Tree(), "amd64") {
		found[f.Library] = f
	}
	return found
}

func TestVerify(t *testing.T) {
	const given = "/dev/.ocishim/gpu/lib/libcuda.so.550.54.15"
	for by, cache := range map[string]bool{"ld.so.cache": true, "LD_LIBRARY_PATH": false} {
		b, image := planned(t, cache)
		found := verify(t, b, image)
		if want := (Finding{Library: "libcuda.so.1", Given: given, Found: given, By: by, Right: true}); found["libcuda.so.1"] != want {
			t.Errorf("%s: %+v", by, found["libcuda.so.1"])
		}
		if len(found) < 25 {
			t.Errorf("%s: only %d libraries", by, len(found))
		}
		for name, f := range found {
			if !f.Right {
				t.Errorf("%s: %s: %+v", by, name, f)
			}
		}
	}
}

// Verify notices what would go wrong, by the loader's rules.
func TestVerifySeesWhatIsWrong(t *testing.T) {
	b, image := planned(t, true)
	b.Files = nil
	if f := verify(t, b, image)["libcuda.so.1"]; f.Right || f.Found != "" || f.Why != "the loader does not find it" {
		t.Errorf("without the cache: %+v", f)
	}

	b, image = planned(t, true)
	image.File("/opt/old/libcuda.so.1", fakenode.ELF{Soname: "libcuda.so.1"}.String())
	b.Spec.Process.Env = append(b.Spec.Process.Env, "LD_LIBRARY_PATH=/nothing:/opt/old")
	if f := verify(t, b, image)["libcuda.so.1"]; f.Right || f.Found != "/opt/old/libcuda.so.1" || f.By != "LD_LIBRARY_PATH" {
		t.Errorf("another one before it: %+v", f)
	}

	b, image = planned(t, true)
	b.Links = slices.DeleteFunc(b.Links, func(l bundle.Link) bool { return l.Target == "libcuda.so.550.54.15" })
	if f := verify(t, b, image)["libcuda.so.1"]; f.Right || f.Found != "" {
		t.Errorf("without the link: %+v", f)
	}

	b, image = planned(t, true)
	b.Spec.Mounts = append(b.Spec.Mounts, specs.Mount{Destination: "/dev/.ocishim/gpu", Type: "tmpfs"})
	b.Spec.Mounts = slices.DeleteFunc(b.Spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev/.ocishim/gpu/lib/libcuda.so.550.54.15" })
	if f := verify(t, b, image)["libcuda.so.1"]; f.Right || f.Found != "" {
		t.Errorf("in a tmpfs: %+v", f)
	}
}

// If LD_LIBRARY_PATH names a driver of the image, it is covered.
func TestVerifyCovered(t *testing.T) {
	node, image := fakenode.New(t), fakenode.Image(t, "2.36")
	node.NVIDIA(fakenode.NVIDIA{GPUs: 1, Driver: "550.54.15", LibDir: "/usr/lib64"})
	image.LoaderCache("libc.so.6 /lib/x86_64-linux-gnu/libc.so.6")
	image.File("/opt/old/libcuda.so.470.1", fakenode.ELF{Soname: "libcuda.so.1"}.String())
	image.Link("/opt/old/libcuda.so.1", "libcuda.so.470.1")
	b := &bundle.Bundle{Spec: config()}
	b.Spec.Process.Env = []string{"SLURM_STEP_GPUS=0", "LD_LIBRARY_PATH=/opt/old"}
	result, err := gpu.Edits(gpu.Request{
		Scene: scene.Scene{Host: node.Tree(), Image: image.Tree(), Arch: "amd64", Env: b.Spec.Process.Env, Mounts: b.Spec.Mounts},
		Slurm: true,
	})
	if err == nil {
		err = b.Apply(result.Edits...)
	}
	if err != nil {
		t.Fatal(err)
	}
	if f := verify(t, b, image)["libcuda.so.1"]; !f.Right || f.Found != "/opt/old/libcuda.so.470.1" {
		t.Errorf("got %+v", f)
	}
}

// A library for newer processors comes before the one in the directory itself, and
// tokens in a search path are expanded.
func TestVerifyLooksInLevels(t *testing.T) {
	b, image := planned(t, true)
	image.File("/opt/lib64/glibc-hwcaps/x86-64-v2/libcuda.so.1", fakenode.ELF{Soname: "libcuda.so.1"}.String())
	b.Spec.Process.Env = append(b.Spec.Process.Env, "LD_LIBRARY_PATH=/none:/opt/$LIB")
	const first = "/opt/lib64/glibc-hwcaps/x86-64-v2/libcuda.so.1"
	f := verify(t, b, image)["libcuda.so.1"]
	machine := (&fakenode.Node{T: t, Root: "/"}).Tree()
	if usable := slices.Contains(linker.UsableHwcaps(machine, "amd64"), "x86-64-v2"); usable && (f.Found != first || f.Right) {
		t.Errorf("got %+v", f)
	} else if !usable && f.Found == first {
		t.Errorf("this processor cannot use it: %+v", f)
	}
}
