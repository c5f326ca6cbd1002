package bundle

import (
	"math"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/text"
)

// checkProcess follows config.md, Process. The specification allows a container without process if
// it is never started, but all of ours are started.
func checkProcess(spec *specs.Spec) *ConfigError {
	p := spec.Process
	if p == nil {
		return invalid("process", "missing")
	}
	switch {
	case len(p.Args) == 0:
		return invalid("process.args", "missing or empty: it names the command to run")
	case p.Args[0] == "":
		return invalid("process.args[0]", "empty: it names the command to run")
	}
	if bad := checkAbsolute("process.cwd", p.Cwd); bad != nil {
		return bad
	}
	if bad := checkEnv("process.env", p.Env); bad != nil {
		return bad
	}
	if bad := checkUser(p.User); bad != nil {
		return bad
	}
	if adj := p.OOMScoreAdj; adj != nil && (*adj < -1000 || *adj > 1000) {
		return invalid("process.oomScoreAdj", "%d is not between -1000 and 1000", *adj)
	}
	if bad := checkConsoleSize(p.ConsoleSize); bad != nil {
		return bad
	}
	return checkRlimits(p.Rlimits)
}

// checkUser follows config.md, POSIX-platform User.
func checkUser(user specs.User) *ConfigError {
	if user.Umask != nil && *user.Umask > 0o777 {
		return invalid("process.user.umask", "%d (octal %o) is more than 511 (octal 777)", *user.Umask, *user.Umask)
	}
	return nil
}

// checkConsoleSize refuses what does not fit the kernel's struct winsize.
func checkConsoleSize(size *specs.Box) *ConfigError {
	switch {
	case size == nil:
		return nil
	case size.Height > math.MaxUint16:
		return invalid("process.consoleSize.height", "%d is more than %d", size.Height, math.MaxUint16)
	case size.Width > math.MaxUint16:
		return invalid("process.consoleSize.width", "%d is more than %d", size.Width, math.MaxUint16)
	}
	return nil
}

// checkRlimits follows config.md, process.rlimits, and getrlimit(2).
func checkRlimits(rlimits []specs.POSIXRlimit) *ConfigError {
	seen := make(map[string]int, len(rlimits))
	for i, limit := range rlimits {
		field := at("process.rlimits", i)
		if !knownRlimit(limit.Type) {
			return invalid(field+".type", "unknown type %s", text.Quoted(limit.Type))
		}
		if first, twice := seen[limit.Type]; twice {
			return invalid(field+".type", "%s is already set by %s", limit.Type, at("process.rlimits", first))
		}
		seen[limit.Type] = i
		if limit.Soft > limit.Hard {
			return invalid(field+".soft", "%d is more than the hard limit %d", limit.Soft, limit.Hard)
		}
	}
	return nil
}

// knownRlimit reports whether Linux has a limit of that name.
func knownRlimit(name string) bool {
	switch name {
	case "RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA",
		"RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE",
		"RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS",
		"RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK":
		return true
	}
	return false
}
