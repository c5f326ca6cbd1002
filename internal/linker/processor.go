package linker

import (
	"io"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
)

// hwcapsDir is the subdirectory in which glibc's loader, since 2.33, looks for
// libraries for newer processors.
const hwcapsDir = "glibc-hwcaps"

// hwcaps lists the subdirectories of glibc-hwcaps in the loader's order, for all
// processors of the architecture.
func hwcaps(arch string) []string {
	switch arch {
	case "amd64":
		return []string{"x86-64-v4", "x86-64-v3", "x86-64-v2"}
	case "ppc64le":
		return []string{"power10", "power9"}
	}
	return nil
}

// legacyHwcaps lists the subdirectories that loaders before glibc 2.37 searched, nested
// in this order, such as tls/haswell/x86_64.
func legacyHwcaps(arch string) []string {
	if arch == "amd64" {
		return []string{"tls", "haswell", "xeon_phi", "avx512_1", "x86_64"}
	}
	return []string{"tls"}
}

// UsableHwcaps lists the levels that the host's processor can use, or all of them if
// that is unknown. It reads /proc/cpuinfo, so it should be called only if such a
// directory exists.
func UsableHwcaps(machine *host.Tree, arch string) []string {
	all := hwcaps(arch)
	flags := cpuFlags(machine)
	if arch != "amd64" || len(flags) == 0 {
		return all
	}
	usable := len(all)
	for _, level := range []string{
		"cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2",
		"avx avx2 bmi1 bmi2 f16c fma abm movbe",
		"avx512f avx512bw avx512cd avx512dq avx512vl",
	} {
		for flag := range strings.FieldsSeq(level) {
			if !slices.Contains(flags, flag) {
				return all[usable:]
			}
		}
		usable--
	}
	return all
}

// cpuFlags lists the flags of the first processor.
func cpuFlags(machine *host.Tree) []string {
	f, err := machine.OpenFile("/proc/cpuinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	const most = 8 << 10 // bytes, for one processor
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil
	}
	_, line, _ := strings.Cut(string(data), "\nflags")
	line, _, _ = strings.Cut(line, "\n")
	return strings.Fields(strings.TrimLeft(line, " \t:"))
}
