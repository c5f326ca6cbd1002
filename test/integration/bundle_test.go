//go:build integration

package integration

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// users and their numbers, as hack/cluster makes them.
var users = map[string]int{"alice": 1000, "bob": 1001, "alice@realm": 1002}

// makeBundles gives alice four good bundles (read-only, writable, with a symlink for its rootfs,
// and one without directories for Slurm's mounts), and the others one each. In every one, /out is
// the user's own directory out: it shows a scenario what a container did even if Slurm loses the
// output.
func (c *cluster) makeBundles() error {
	for user := range users {
		kinds := []string{"ro"}
		if user == "alice" {
			kinds = []string{"ro", "rw", "link", "bare"}
		}
		for _, kind := range kinds {
			if err := c.makeBundle(user, kind); err != nil {
				return fmt.Errorf("bundle %s of %s: %w", kind, user, err)
			}
		}
		if err := c.makeOut(user); err != nil {
			return err
		}
	}
	return nil
}

// bundle returns the path of a user's bundle inside the cluster.
func bundle(user, kind string) string { return "/home/" + user + "/bundles/" + kind }

// onHost returns a path in the cluster as this process sees it.
func (c *cluster) onHost(path string) string { return c.root + path }

func (c *cluster) makeBundle(user, kind string) error {
	dir := c.onHost(bundle(user, kind))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	rootfs := filepath.Join(dir, "rootfs")
	if kind == "link" {
		rootfs = c.onHost("/home/" + user + "/bundles/image")
		if err := os.Symlink("../image", filepath.Join(dir, "rootfs")); err != nil {
			return err
		}
	}
	if out, err := exec.Command("cp", "-a", filepath.Join(repo, sourceBundle, "rootfs"), rootfs).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	if err := os.Mkdir(filepath.Join(rootfs, "out"), 0o755); err != nil {
		return err
	}
	if c.runtime != "ocishim" && kind == "ro" {
		if err := placesForSlurm(rootfs); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(rootfs, "usr/bin/segv"), crashingProgram(), 0o755); err != nil {
		return err
	}
	if err := c.writeConfig(filepath.Join(dir, "config.json"), user, kind != "rw"); err != nil {
		return err
	}
	return chown(c.onHost("/home/"+user+"/bundles"), users[user])
}

// placesForSlurm makes the mount points that Slurm needs. runc and crun would make them in the
// image, or fail: the table has a few rows for that, instead of the same remark in each.
func placesForSlurm(rootfs string) error {
	for _, dir := range []string{"run/slurm", "tmp/slurm"} {
		if err := os.Mkdir(filepath.Join(rootfs, dir), 0o755); err != nil {
			return err
		}
	}
	for _, file := range []string{"startup", "stdin", "stdout", "stderr"} {
		if err := os.WriteFile(filepath.Join(rootfs, "tmp/slurm", file), nil, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// makeOut empties the directory that the user's containers see as /out.
func (c *cluster) makeOut(user string) error {
	out := c.onHost("/home/" + user + "/out")
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	return os.Chown(out, users[user], users[user])
}

func (c *cluster) writeConfig(path, user string, readonly bool) error {
	source, err := os.ReadFile(filepath.Join(repo, sourceBundle, "config.json"))
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(source, &config); err != nil {
		return err
	}
	config["root"] = map[string]any{"path": "rootfs", "readonly": readonly}
	config["mounts"] = append(config["mounts"].([]any), map[string]any{
		"destination": "/out", "type": "none", "source": "/home/" + user + "/out", "options": []string{"rbind", "rw"},
	})
	if c.runtime == "runc" {
		likeRuncSpecRootless(config, users[user])
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// likeRuncSpecRootless makes the changes of `runc spec --rootless`, without which runc refuses to
// run for a user who is not root.
func likeRuncSpecRootless(config map[string]any, uid int) {
	mapping := []any{map[string]any{"containerID": 0, "hostID": uid, "size": 1}}
	linux := config["linux"].(map[string]any)
	linux["uidMappings"], linux["gidMappings"] = mapping, mapping
	var namespaces []any
	for _, name := range []string{"pid", "ipc", "uts", "mount", "user"} {
		namespaces = append(namespaces, map[string]any{"type": name})
	}
	linux["namespaces"] = namespaces
	for _, m := range config["mounts"].([]any) {
		if m := m.(map[string]any); m["destination"] == "/sys" {
			m["type"], m["source"] = "none", "/sys"
			m["options"] = []string{"rbind", "nosuid", "noexec", "nodev", "ro"}
		}
	}
}

func chown(root string, id int) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, id, id)
	})
}

// listing describes a directory tree, one line for each file, to compare before and after.
func listing(root string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		size := info.Size()
		if info.IsDir() {
			size = 0
		}
		fmt.Fprintln(&b, strings.TrimPrefix(path, root), info.Mode(), size)
		return nil
	})
	return b.String(), err
}

// crashingProgram returns a program whose first instruction reads address 0. Only its own fault
// kills the first process of a pid namespace with SIGSEGV.
func crashingProgram() []byte {
	code, machine := []byte{0x31, 0xc0, 0x8b, 0x00}, uint16(62) // xor eax,eax; mov eax,[rax]
	if runtime.GOARCH == "arm64" {
		code, machine = []byte{0x00, 0x00, 0x80, 0xd2, 0x00, 0x00, 0x40, 0xf9}, 183 // mov x0,#0; ldr x0,[x0]
	}
	const base, header = 0x400000, 64 + 56
	le := binary.LittleEndian
	elf := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	elf = le.AppendUint16(elf, 2) // an executable
	elf = le.AppendUint16(elf, machine)
	elf = le.AppendUint32(elf, 1)
	elf = le.AppendUint64(elf, base+header)           // where it starts
	elf = le.AppendUint64(elf, 64)                    // the program header's place
	elf = append(elf, make([]byte, 12)...)            // no sections, no flags
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} { // sizes
		elf = le.AppendUint16(elf, v)
	}
	elf = le.AppendUint32(elf, 1) // load
	elf = le.AppendUint32(elf, 5) // to read and execute
	size := uint64(header + len(code))
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		elf = le.AppendUint64(elf, v)
	}
	return append(elf, code...)
}
