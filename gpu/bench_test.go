package gpu

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host/fakenode"
)

// BenchmarkEdits measures what a host with eight GPUs and a hundred driver files costs
// each task, with and without the results of an earlier call. The figures are for a
// fake tree, in which every path is resolved below a root; a real host is faster.
func BenchmarkEdits(b *testing.B) {
	n := eight(b)
	for i := range 100 - len(fakenode.DriverLibraries) {
		n.File(fmt.Sprintf("/usr/lib/x86_64-linux-gnu/libnvidia-more%d.so.%s", i, version), fakenode.ELF{Soname: fmt.Sprintf("libnvidia-more%d.so.1", i)}.String())
	}
	var libraries []string
	for i := range 1500 { // the loader's cache of a large image
		libraries = append(libraries, fmt.Sprintf("libsome%d.so.%d /usr/lib/x86_64-linux-gnu/libsome%d.so.%d", i, i%7, i, i%7))
	}
	image := fakenode.Image(b, "2.36")
	image.LoaderCache(append(libraries, "libc.so.6 /lib/x86_64-linux-gnu/libc.so.6")...)
	for _, c := range []struct {
		name, capabilities string
		warm               bool
	}{{"warm/default", "compute,utility", true}, {"warm/all", "all", true}, {"cold/default", "compute,utility", false}} {
		b.Run(c.name, func(b *testing.B) {
			r := ask(b, n, "SLURM_STEP_GPUS=0,1,2,3,4,5,6,7", "CUDA_VISIBLE_DEVICES=0,1,2,3,4,5,6,7", "NVIDIA_DRIVER_CAPABILITIES="+c.capabilities)
			r.Image = image.Tree()
			if c.warm {
				r.CacheDir = b.TempDir()
			}
			mounts, before := 0, cpuTime(b)
			for b.Loop() {
				result, err := Edits(r)
				if err != nil {
					b.Fatal(err)
				}
				mounts = 0
				for _, e := range result.Edits {
					mounts += len(e.Mounts)
				}
			}
			b.ReportMetric(float64(mounts), "mounts")
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime returns the processor time used by the process, which other load does not
// affect.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
