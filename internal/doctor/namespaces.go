package doctor

import (
	"strings"
)

func namespaceChecks() []Check {
	return []Check{
		{"userns", "a user can make a user namespace and mount in it", userNamespace},
		{"proc", "/proc shows a user their own processes", procMounts},
		{"kernel", "the system calls that launches use", kernelCalls},
	}
}

// userNamespace makes a namespace as a user. What explains a failure is read afterwards.
func userNamespace(p *Patient) []Finding {
	err := p.Do("userns")
	if err == nil {
		return ok("user " + p.User + " can make user namespaces and mount in them")
	}
	why, fix := p.whyNoNamespace()
	return found(Fail, "user "+p.User+" cannot make a user namespace: "+err.Error()+why, fix)
}

// whyNoNamespace explains by what can be read; the first reason that applies counts.
func (p *Patient) whyNoNamespace() (why, fix string) {
	for _, limit := range []string{"max_user_namespaces", "max_mnt_namespaces"} {
		if p.Host.ReadLine("/proc/sys/user/"+limit) == "0" {
			return "; user." + limit + " is 0", "sysctl -w user." + limit + "=15000, and the same line in /etc/sysctl.d/90-ocishim.conf"
		}
	}
	if p.Host.ReadLine("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
		return "; kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1, and the same line in /etc/sysctl.d/90-ocishim.conf"
	}
	if p.Host.ReadLine("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
		return "; AppArmor restricts user namespaces",
			"install the profile /etc/apparmor.d/ocishim with `userns,` for " + p.Program + " and run apparmor_parser -r, or set kernel.apparmor_restrict_unprivileged_userns=0"
	}
	if strings.Contains(p.Host.ReadLine("/proc/cmdline"), "user_namespace.enable=0") {
		return "; the kernel was started with user_namespace.enable=0", "boot without it"
	}
	status := p.selfStatus()
	if status["Seccomp"] == "2" || status["NoNewPrivs"] == "1" {
		return "; a seccomp filter is in force (Seccomp: " + status["Seccomp"] + ", NoNewPrivs: " + status["NoNewPrivs"] + ")",
			"slurmd's unit or container must allow it: RestrictNamespaces=no in a drop-in of slurmd.service, or another seccomp profile of its pod"
	}
	if p.Host.ReadLine("/sys/fs/selinux/enforce") == "1" {
		return "; SELinux enforces", "ausearch -m AVC -c ocishim shows what was denied; restorecon " + p.Program + " gives the program its label"
	}
	return "", "see which of sysctl user.max_user_namespaces, AppArmor, SELinux or a seccomp filter of slurmd's forbids it"
}

// selfStatus returns /proc/self/status.
func (p *Patient) selfStatus() map[string]string {
	fields := map[string]string{}
	data, err := p.Host.ReadFile("/proc/self/status")
	if err != nil {
		return fields
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

// procMounts looks for hidepid, with which a user cannot write the maps of a namespace's process, and
// ocishim cannot see who lives.
func procMounts(p *Patient) []Finding {
	for _, m := range p.mounts() {
		if m.at != "/proc" || m.kind != "proc" {
			continue
		}
		for _, option := range strings.Split(m.options, ",") {
			if value, hides := strings.CutPrefix(option, "hidepid="); hides && value != "0" && value != "off" {
				return found(Warn, "/proc is mounted with "+option+": ocishim cannot see processes of other users, and root's cleanup may not find a task's",
					"mount -o remount,hidepid=0 /proc, or gid= of a group that slurmd and the users have")
			}
		}
		return ok("/proc shows all processes")
	}
	return skip("no /proc is mounted")
}

// A mountLine is a line of /proc/self/mountinfo.
type mountLine struct{ at, options, kind string }

func (p *Patient) mounts() []mountLine {
	data, err := p.Host.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var mounts []mountLine
	for line := range strings.Lines(string(data)) {
		mount, system, _ := strings.Cut(strings.TrimSpace(line), " - ")
		fields, rest := strings.Fields(mount), strings.Fields(system)
		if len(fields) < 6 || len(rest) < 3 {
			continue
		}
		mounts = append(mounts, mountLine{at: fields[4], options: fields[5] + "," + rest[2], kind: rest[0]})
	}
	return mounts
}

// mountOf returns the mount that a path is on.
func (p *Patient) mountOf(path string) mountLine {
	var best mountLine
	for _, m := range p.mounts() {
		inside := m.at == "/" || path == m.at || strings.HasPrefix(path, m.at+"/")
		if inside && len(m.at) >= len(best.at) {
			best = m
		}
	}
	return best
}

// kernelCalls tries each call, since distributions bring newer calls to older kernels.
func kernelCalls(p *Patient) []Finding {
	release := p.Host.ReadLine("/proc/sys/kernel/osrelease")
	if err := p.Do("calls"); err != nil {
		return found(Warn, "Linux "+release+" lacks "+err.Error(), "a newer kernel; docs/security.md says what takes the place of each")
	}
	return ok("Linux " + release + " has all calls that launches use")
}
