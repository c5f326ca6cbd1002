package fakeroot

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// what returns what the rules say of a call, in words.
func what(f *specs.LinuxSeccomp, name string) string {
	var all []string
	for _, rule := range f.Syscalls {
		if !slices.Contains(rule.Names, name) {
			continue
		}
		word := string(rule.Action)
		if rule.ErrnoRet != nil && *rule.ErrnoRet == 0 {
			word = "success"
		}
		if len(rule.Args) > 0 {
			word += "?"
		}
		all = append(all, word)
	}
	return strings.Join(all, " ")
}

// A filter of the bundle stays, but for the calls that are answered: two rules for one of them would
// contradict each other.
func TestFilterOverAnother(t *testing.T) {
	errno := uint(38)
	own := &specs.LinuxSeccomp{
		DefaultAction: specs.ActErrno, DefaultErrnoRet: &errno, Architectures: []specs.Arch{specs.ArchX86_64},
		Syscalls: []specs.LinuxSyscall{
			{Names: []string{"read", "chown", "mknod"}, Action: specs.ActAllow},
			{Names: []string{"setuid"}, Action: specs.ActKillProcess},
		},
	}
	f, err := filter(&specs.Linux{Seccomp: own}, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"read": "SCMP_ACT_ALLOW", "chown": "success", "setuid": "success", "lchown32": "success",
		"mknod":   "success? success? SCMP_ACT_ALLOW? SCMP_ACT_ALLOW? SCMP_ACT_ALLOW? SCMP_ACT_ALLOW?",
		"mknodat": "success? success?", "mount": "",
	} {
		if got := what(f, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if f.DefaultAction != specs.ActErrno || f.DefaultErrnoRet != &errno || len(f.Architectures) != 1 || len(own.Syscalls[0].Names) != 3 {
		t.Errorf("the rest of the filter changed: %+v, %+v", f, own)
	}
	if _, err := filter(&specs.Linux{Seccomp: &specs.LinuxSeccomp{ListenerPath: "/x"}}, "amd64"); !errors.Is(err, errListener) {
		t.Errorf("with a listener: %v", err)
	}
}

func TestFilterAlone(t *testing.T) {
	for arch, want := range map[string]int{"amd64": 3, "arm64": 2, "s390x": 2, "riscv64": 0} {
		f, err := filter(nil, arch)
		if err != nil || f.DefaultAction != specs.ActAllow || len(f.Architectures) != want {
			t.Errorf("%s: %+v, %v", arch, f, err)
		}
		for name, want := range map[string]string{"fchownat": "success", "setresuid32": "success", "capset": "success", "mknodat": "success? success?", "setxattr": ""} {
			if got := what(f, name); got != want {
				t.Errorf("%s: %s: %q, want %q", arch, name, got, want)
			}
		}
	}
}
