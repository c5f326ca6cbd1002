package linker

import (
	"io"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
)

// hwcapsDir is the directory below each searched one in which glibc's loader looks for
// libraries that are made for newer processors, since glibc 2.33.
const hwcapsDir = "glibc-hwcaps"

// hwcaps lists the directories below glibc-hwcaps in the loader's order, for every
// processor of the architecture.
func hwcaps(arch string) []string {
	switch arch {
	case "amd64":
		return []string{"x86-64-v4", "x86-64-v3", "x86-64-v2"}
	case "ppc64le":
		return []string{"power10", "power9"}
	}
	return nil
}

// legacyHwcaps lists the directories in which loaders before glibc 2.37 looked below each
// searched one, and below each other in this order, such as tls/haswell/x86_64.
func legacyHwcaps(arch string) []string {
	if arch == "amd64" {
		return []string{"tls", "haswell", "xeon_phi", "avx512_1", "x86_64"}
	}
	return []string{"tls"}
}

// UsableHwcaps lists the levels that the machine's processor can use: all of them where
// it says nothing that is understood. It reads /proc/cpuinfo, so ask only where such a
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
	const most = 8 << 10 // bytes, of a processor
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil
	}
	_, line, _ := strings.Cut(string(data), "\nflags")
	line, _, _ = strings.Cut(line, "\n")
	return strings.Fields(strings.TrimLeft(line, " \t:"))
}
