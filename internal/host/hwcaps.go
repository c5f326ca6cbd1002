package host

import (
	"io"
	"slices"
	"strings"
)

// HwcapsDir is the directory below each searched one in which glibc's loader looks for
// libraries that are made for newer processors, since glibc 2.33.
const HwcapsDir = "glibc-hwcaps"

// Hwcaps lists the directories below glibc-hwcaps in the loader's order, for every
// processor of the architecture.
func Hwcaps(arch string) []string {
	switch arch {
	case "amd64":
		return []string{"x86-64-v4", "x86-64-v3", "x86-64-v2"}
	case "ppc64le":
		return []string{"power10", "power9"}
	}
	return nil
}

// LegacyHwcaps lists the directories in which loaders before glibc 2.37 looked below each
// searched one, and below each other in this order, such as tls/haswell/x86_64.
func LegacyHwcaps(arch string) []string {
	if arch == "amd64" {
		return []string{"tls", "haswell", "xeon_phi", "avx512_1", "x86_64"}
	}
	return []string{"tls"}
}

// UsableHwcaps are those of Hwcaps that the machine's processor can use: all of them where
// it says nothing that is understood. It reads /proc/cpuinfo, so ask only where such a
// directory exists.
func (t *Tree) UsableHwcaps(arch string) []string {
	all := Hwcaps(arch)
	flags := t.cpuFlags()
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

// cpuFlags are those of the first processor.
func (t *Tree) cpuFlags() []string {
	f, err := t.OpenFile("/proc/cpuinfo")
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
