package scrun

import (
	"os"
	"path"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// defaultPath is the PATH of a container without one.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// absoluteCommand returns args with the command as an absolute path in the container.
// Otherwise slurmstepd looks a command without '/' up on the compute node, with the
// container's PATH, and srun looks for one with '/' in its own working directory. A command
// that is not found is left as it is, so that the runtime on the compute node reports it.
func absoluteCommand(rootfs string, mounts []specs.Mount, p *specs.Process, args []string) []string {
	if len(args) == 0 || path.IsAbs(args[0]) {
		return args
	}
	absolute := append([]string(nil), args...)
	if strings.Contains(args[0], "/") {
		absolute[0] = path.Join(p.Cwd, args[0])
		return absolute
	}
	search := lookUp(p.Env, "PATH")
	if search == "" {
		search = defaultPath
	}
	for dir := range strings.SplitSeq(search, ":") {
		if !path.IsAbs(dir) {
			dir = path.Join(p.Cwd, dir)
		}
		if found := path.Join(dir, args[0]); isCommand(rootfs, mounts, found) {
			absolute[0] = found
			return absolute
		}
	}
	return absolute
}

// isCommand reports whether the path is an executable file in the container, as far as this
// host can see.
func isCommand(rootfs string, mounts []specs.Mount, p string) bool {
	root, within := rootfs, p
	longest := 0
	for _, m := range mounts {
		destination := path.Clean(m.Destination)
		if rest, ok := strings.CutPrefix(p, destination); ok && bundle.IsBind(m) && len(destination) > longest && (rest == "" || rest[0] == '/') {
			root, within, longest = m.Source, rest, len(destination)
		}
	}
	if within == "" { // the file itself is mounted
		info, err := os.Stat(root)
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	}
	joined, err := securejoin.SecureJoin(root, within)
	if err != nil {
		return false
	}
	info, err := os.Lstat(joined)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
