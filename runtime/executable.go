package runtime

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
)

// checkCommand tells before anything is created that the kernel will refuse to
// execute the bundle's command, where that can be told from the rootfs:
// libcontainer finds a missing command in time, but the refusal of execve(2)
// comes too late for it to be told from the application's own status.
//
// What lies on a mount, or cannot be read, is left to execve.
func checkCommand(b *bundle.Bundle) error {
	root, err := os.OpenFile(b.Rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open rootfs: %w", err)
	}
	defer root.Close()
	head := commandHead(root, b.Spec)
	command := b.Spec.Process.Args[0]
	switch {
	case head == nil:
		return nil
	case bytes.HasPrefix(head, []byte("#!")):
		interpreter := interpreterOf(head)
		if interpreter != "" && filepath.IsAbs(interpreter) && !mountedOver(b.Spec, interpreter) && !exists(root, interpreter) {
			return fmt.Errorf("execute %q: %w: its interpreter %s does not exist in the image", command, ErrCommandNotFound, interpreter)
		}
		return nil
	case foreignFormats():
		return nil
	case !bytes.HasPrefix(head, []byte("\x7fELF")):
		return fmt.Errorf("execute %q: %w: it is neither a program nor a script with #! at its beginning", command, ErrNotExecutable)
	case !nativeMachine(head):
		return fmt.Errorf("execute %q: %w: it is a program for another kind of processor, not for %s", command, ErrNotExecutable, goruntime.GOARCH)
	}
	return nil
}

// commandHead reads the beginning of the command's file, nil when it does not
// lie in the rootfs itself.
func commandHead(root *os.File, spec *specs.Spec) []byte {
	for _, path := range commandPaths(spec.Process) {
		if mountedOver(spec, path) {
			return nil
		}
		handle, err := pathrs.OpenatInRoot(root, path)
		if err != nil {
			continue
		}
		head := readHead(handle)
		handle.Close()
		return head
	}
	return nil
}

// commandPaths lists where execvp(3) would look.
func commandPaths(p *specs.Process) []string {
	command := p.Args[0]
	if strings.Contains(command, "/") {
		if filepath.IsAbs(command) {
			return []string{filepath.Clean(command)}
		}
		return []string{filepath.Join("/", p.Cwd, command)}
	}
	var paths []string
	for _, entry := range p.Env {
		if dirs, ok := strings.CutPrefix(entry, "PATH="); ok {
			paths = nil
			for _, dir := range filepath.SplitList(dirs) {
				paths = append(paths, filepath.Join("/", dir, command))
			}
		}
	}
	return paths
}

func readHead(handle *os.File) []byte {
	info, err := handle.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return nil
	}
	f, err := pathrs.Reopen(handle, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK)
	if err != nil {
		return nil
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := io.ReadFull(f, head)
	if n == 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return head[:n]
}

// interpreterOf reads the interpreter of a script's first line (execve(2)).
func interpreterOf(head []byte) string {
	line, _, _ := bytes.Cut(head[2:], []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// nativeMachine tells from an ELF header (elf(5), e_machine) whether this
// kernel's processor runs the program; 32-bit variants count as native.
func nativeMachine(head []byte) bool {
	if len(head) < 20 {
		return false
	}
	machine := binary.LittleEndian.Uint16(head[18:20])
	if head[5] == 2 { // ELFDATA2MSB
		machine = binary.BigEndian.Uint16(head[18:20])
	}
	const i386, ppc64, s390, arm, amd64, arm64, riscv = 3, 21, 22, 40, 62, 183, 243
	native := map[string][]uint16{
		"amd64": {amd64, i386}, "arm64": {arm64, arm}, "ppc64le": {ppc64}, "s390x": {s390}, "riscv64": {riscv},
	}[goruntime.GOARCH]
	for _, m := range native {
		if m == machine {
			return true
		}
	}
	return native == nil
}

// foreignFormats tells whether the kernel runs other formats by binfmt_misc.
func foreignFormats() bool {
	entries, err := os.ReadDir("/proc/sys/fs/binfmt_misc")
	return err == nil && len(entries) > 2 // beside register and status
}

// mountedOver tells whether the path lies on one of the spec's mounts.
func mountedOver(spec *specs.Spec, path string) bool {
	for _, m := range spec.Mounts {
		d := filepath.Join("/", m.Destination)
		if path == d || strings.HasPrefix(path, d+"/") {
			return true
		}
	}
	return false
}
