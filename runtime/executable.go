package runtime

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// checkInterpreter returns an error, before anything is created, if the image lacks the
// interpreter of the command's script or the loader of its program. execve(2) would say
// "no such file", as if the command were missing. A command that is on a mount, or cannot
// be read, is left to execve.
func checkInterpreter(b *bundle.Bundle) error {
	root, err := os.OpenFile(b.RootDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open rootfs: %w", err)
	}
	defer root.Close()
	command := openCommand(root, b.Spec)
	if command == nil {
		return nil
	}
	defer command.Close()
	interpreter := interpreterOf(command)
	if !filepath.IsAbs(interpreter) || mountedOver(b.Spec, interpreter) || isIn(root, interpreter) {
		return nil
	}
	// Docker's exit status is 127 because of execve's words at the end.
	return fmt.Errorf("execute %q: %w: its interpreter %s does not exist in the image: %s",
		b.Spec.Process.Args[0], ErrCommandNotFound, interpreter, unix.ENOENT.Error())
}

// isIn reports whether the path leads to something inside the root.
func isIn(root *os.File, path string) bool {
	fd, err := inplace.OpenIn(int(root.Fd()), path)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// openCommand opens the command's file. It returns nil if the file is not in the rootfs
// itself.
func openCommand(root *os.File, spec *specs.Spec) *os.File {
	for _, path := range commandPaths(spec.Process) {
		if mountedOver(spec, path) {
			return nil
		}
		fd, err := inplace.OpenIn(int(root.Fd()), path)
		if err != nil {
			continue
		}
		defer unix.Close(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return nil
		}
		file, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil
		}
		return file
	}
	return nil
}

// commandPaths lists the paths at which execvp(3) would look for the command.
func commandPaths(p *specs.Process) []string {
	command := p.Args[0]
	if filepath.IsAbs(command) {
		return []string{filepath.Clean(command)}
	}
	if strings.Contains(command, "/") {
		return []string{filepath.Join("/", p.Cwd, command)}
	}
	var paths []string
	dirs, _ := bundle.Getenv(p.Env, "PATH")
	for _, dir := range filepath.SplitList(dirs) {
		paths = append(paths, filepath.Join("/", dir, command))
	}
	return paths
}

// interpreterOf reads the interpreter from a script's first line, or the loader from a
// program's headers (execve(2)). It is empty if the file names neither.
func interpreterOf(f *os.File) string {
	head := make([]byte, 256) // what the kernel looks at
	n, _ := io.ReadFull(f, head)
	if line, isScript := bytes.CutPrefix(head[:n], []byte("#!")); isScript {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		if fields := strings.Fields(string(line)); len(fields) > 0 {
			return fields[0]
		}
		return ""
	}
	program, err := elf.NewFile(f)
	if err != nil {
		return ""
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz <= unix.PathMax {
			path, _ := io.ReadAll(p.Open())
			return string(bytes.TrimRight(path, "\x00"))
		}
	}
	return ""
}

// mountedOver reports whether the path is on one of the spec's mounts.
func mountedOver(spec *specs.Spec, path string) bool {
	for _, m := range spec.Mounts {
		d := filepath.Join("/", m.Destination)
		if path == d || strings.HasPrefix(path, d+"/") {
			return true
		}
	}
	return false
}
