package house_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An initialization is what GODEBUG=inittrace=1 reports of a package: the work that it does before
// main.
type initialization struct {
	pkg           string
	bytes, allocs int
}

// Every container starts this program at least twice, and without root copies it once, and each
// time its packages initialize. The test counts memory, not time, which depends on the machine; the
// two go together.
func TestLittleHappensBeforeMain(t *testing.T) {
	const mostBytes, mostAllocs = 16 << 10, 64 // for one package
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make here")
	}
	binary := filepath.Join("build", "bin", "ocishim")
	cmd := exec.Command("make", binary)
	cmd.Dir = moduleRoot
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	all := initializations(t, filepath.Join(moduleRoot, binary))
	var sum initialization
	for _, i := range all {
		sum.bytes += i.bytes
		sum.allocs += i.allocs
		most := mostBytes
		if i.pkg == "encoding/xml" {
			most = 20 << 10 // cilium/ebpf links it from 0.18 on: 0.03 ms, for its newest
		}
		if i.bytes > most || i.allocs > mostAllocs {
			t.Errorf("%s allocates %d bytes in %d pieces before main, at most %d in %d: do without it, or leave it out by a build tag",
				i.pkg, i.bytes, i.allocs, most, mostAllocs)
		}
	}
	info, err := os.Stat(filepath.Join(moduleRoot, binary))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("before main %d packages allocate %d bytes in %d pieces; the binary has %d bytes", len(all), sum.bytes, sum.allocs, info.Size())
}

// initializations lists the initializations of the binary's packages.
func initializations(t *testing.T, binary string) []initialization {
	t.Helper()
	var trace bytes.Buffer
	cmd := exec.Command(binary, "--version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", binary, err, &trace)
	}
	var all []initialization
	for line := range strings.Lines(trace.String()) {
		var i initialization
		var at, clock float64
		if _, err := fmt.Sscanf(line, "init %s @%f ms, %f ms clock, %d bytes, %d allocs", &i.pkg, &at, &clock, &i.bytes, &i.allocs); err == nil {
			all = append(all, i)
		}
	}
	if len(all) < 10 {
		t.Fatalf("no trace of what happens before main:\n%s", &trace)
	}
	return all
}
