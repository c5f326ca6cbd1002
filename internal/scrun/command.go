package scrun

import (
	"os"
	"path"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// defaultPath is where a command is looked for in a container without PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// absoluteCommand is args with the command by its path in the container.
// slurmstepd looks a command without '/' up on its node, by the container's PATH,
// and srun one with it from its own working directory. What is not found stays
// as it is, for the runtime on the node to say so.
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

// isCommand tells whether the path is an executable file of the container, as far
// as this machine can see.
func isCommand(rootfs string, mounts []specs.Mount, p string) bool {
	root, within := rootfs, p
	longest := 0
	for _, m := range mounts {
		destination := path.Clean(m.Destination)
		if rest, ok := strings.CutPrefix(p, destination); ok && bundle.IsBind(m) && len(destination) > longest && (rest == "" || rest[0] == '/') {
			root, within, longest = m.Source, rest, len(destination)
		}
	}
	if within == "" { // a file of its own is mounted there
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
