package fakeroot

import (
	"errors"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// answered are the system calls that do nothing and succeed, as with enroot and Charliecloud: they
// would give a file or the process to another user or group, which do not exist there. The names with
// 32 are those of 32-bit programs.
const answered = "chown chown32 fchown fchown32 lchown lchown32 fchownat " +
	"setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32 " +
	"setgroups setgroups32 setfsuid setfsuid32 setfsgid setfsgid32 capset"

// makers are the system calls that make device nodes, with the index of their argument that has the
// type of the file. Those that make other files do so.
func makers() map[string]uint { return map[string]uint{"mknod": 1, "mknodat": 2} }

// others are the architectures of other programs that processors of this architecture run.
func others(arch string) []specs.Arch {
	switch arch {
	case "amd64":
		return []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
	case "arm64":
		return []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
	case "s390x":
		return []specs.Arch{specs.ArchS390X, specs.ArchS390}
	}
	return nil
}

// specAllow keeps the kernel from slowing down every program that has a filter.
const specAllow = specs.LinuxSeccompFlagSpecAllow

var errListener = errors.New("linux.seccomp has a listener, which remap_root does not go together with")

// filter returns a filter that answers, over the one that the container has.
func filter(linux *specs.Linux, arch string) (*specs.LinuxSeccomp, error) {
	f := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: others(arch), Flags: []specs.LinuxSeccompFlag{specAllow}}
	if linux != nil && linux.Seccomp != nil {
		own := *linux.Seccomp
		f = &own
		if f.ListenerPath != "" || f.DefaultAction == specs.ActNotify {
			return nil, errListener
		}
	}
	rules := f.Syscalls
	f.Syscalls = withoutAnswered(rules)
	success := uint(0)
	f.Syscalls = append(f.Syscalls, specs.LinuxSyscall{Names: strings.Fields(answered), Action: specs.ActErrno, ErrnoRet: &success})
	for _, name := range []string{"mknod", "mknodat"} {
		index := makers()[name]
		for _, kind := range []uint64{unix.S_IFCHR, unix.S_IFBLK} {
			f.Syscalls = append(f.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActErrno, ErrnoRet: &success, Args: ofKind(index, kind)})
		}
		if f.DefaultAction == specs.ActAllow || !allows(rules, name) {
			continue
		}
		for _, kind := range []uint64{0, unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK} {
			f.Syscalls = append(f.Syscalls, specs.LinuxSyscall{Names: []string{name}, Action: specs.ActAllow, Args: ofKind(index, kind)})
		}
	}
	return f, nil
}

// ofKind matches calls for files of one type.
func ofKind(index uint, kind uint64) []specs.LinuxSeccompArg {
	return []specs.LinuxSeccompArg{{Index: index, Value: unix.S_IFMT, ValueTwo: kind, Op: specs.OpMaskedEqual}}
}

// withoutAnswered returns the rules without what they say of our system calls: two rules for one
// call contradict each other.
func withoutAnswered(rules []specs.LinuxSyscall) []specs.LinuxSyscall {
	ours := append(strings.Fields(answered), "mknod", "mknodat")
	var left []specs.LinuxSyscall
	for _, rule := range rules {
		rule.Names = slices.DeleteFunc(slices.Clone(rule.Names), func(name string) bool { return slices.Contains(ours, name) })
		if len(rule.Names) > 0 {
			left = append(left, rule)
		}
	}
	return left
}

// allows reports whether the rules allow every call of the name.
func allows(rules []specs.LinuxSyscall, name string) bool {
	return slices.ContainsFunc(rules, func(rule specs.LinuxSyscall) bool {
		return rule.Action == specs.ActAllow && len(rule.Args) == 0 && slices.Contains(rule.Names, name)
	})
}
