package explain

import (
	"debug/elf"
	"testing"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// In LD_LIBRARY_PATH an empty element is the working directory, a relative path begins
// there, and a library of another architecture is skipped: ld.so(8).
func TestVerifyBySearchPath(t *testing.T) {
	const given = "/dev/.ocishim/gpu/lib/libcuda.so.550.54.15"
	for name, test := range map[string]struct {
		search string
		found  string
	}{
		"empty":                {":/none", "/work/libcuda.so.1"},
		"relative":             {"sub;/none", "/work/sub/libcuda.so.1"},
		"another architecture": {"/opt/arm", given},
		"none":                 {"/none", given},
	} {
		b, image := planned(t, true)
		image.File("/work/libcuda.so.1", fakenode.ELF{Soname: "libcuda.so.1"}.String())
		image.File("/work/sub/libcuda.so.1", fakenode.ELF{Soname: "libcuda.so.1"}.String())
		image.File("/opt/arm/libcuda.so.1", fakenode.ELF{Soname: "libcuda.so.1", Machine: elf.EM_AARCH64}.String())
		b.Spec.Process.Cwd = "/work"
		b.Spec.Process.Env = append(b.Spec.Process.Env, "LD_LIBRARY_PATH="+test.search)
		if f := verify(t, b, image)["libcuda.so.1"]; f.Found != test.found || f.Right != (test.found == given) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// musl's loader has no cache, and searches other directories.
func TestVerifyOfMusl(t *testing.T) {
	b, image := planned(t, true)
	image.Remove("/lib/x86_64-linux-gnu/libc.so.6")
	image.File("/lib/ld-musl-x86_64.so.1", "musl")
	image.File("/usr/local/lib/libcuda.so.1", fakenode.ELF{Soname: "libcuda.so.1"}.String())
	if f := verify(t, b, image)["libcuda.so.1"]; f.Found != "/usr/local/lib/libcuda.so.1" || f.By != "standard directories" || f.Right {
		t.Errorf("got %+v", f)
	}
}
