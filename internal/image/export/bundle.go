package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// bundle writes a directory called bundle, as runtime-spec's bundle.md defines it.
func (w *writer) bundle(ctx context.Context) error {
	if err := w.dir.Mkdir("bundle", 0o777); err != nil { // the umask applies
		return err
	}
	dir, err := w.dir.OpenRoot("bundle")
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // only read from
	if err := w.tree(ctx, dir); err != nil {
		return err
	}
	u, err := user(w.src.Config.User, func(path string) string { return read(dir, "rootfs/"+path) })
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(spec(w.src.Config, u), "", "\t")
	if err != nil {
		return err
	}
	f, err := dir.OpenFile("config.json", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // the umask applies
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(append(data, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// spec returns a configuration by image-spec's conversion.md: a process as the image describes
// it, with the file systems and namespaces of `runc spec`. Any runtime accepts it; Slurm replaces
// the process.
func spec(c image.Config, u specs.User) *specs.Spec {
	args := append(append([]string{}, c.Entrypoint...), c.Cmd...)
	if len(args) == 0 {
		args = []string{"sh"}
	}
	env := c.Env
	if !hasPath(env) {
		env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, env...)
	}
	cwd := c.WorkingDir
	if !strings.HasPrefix(cwd, "/") {
		cwd = "/" + cwd
	}
	short := []string{"nosuid", "noexec", "nodev"}
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Args: args, Env: env, Cwd: cwd, User: u, NoNewPrivileges: true,
		},
		Root: &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append(short, "mode=1777")},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: short},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: append(short, "ro")},
		},
		Annotations: annotations(c.Labels),
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
			},
			MaskedPaths:   []string{"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

// annotations returns an image's labels, without those that would give options to ocishim: only
// the user may do so.
func annotations(labels map[string]string) map[string]string {
	kept := maps.Clone(labels)
	maps.DeleteFunc(kept, func(name, _ string) bool { return strings.HasPrefix(name, "org.ocishim.") })
	return kept
}

func hasPath(env []string) bool {
	for _, variable := range env {
		if strings.HasPrefix(variable, "PATH=") {
			return true
		}
	}
	return false
}

// read returns the content of a file of the image, whose links cannot lead outside. It returns ""
// if the file is missing, not regular, or larger than any real passwd file.
func read(dir *os.Root, path string) string {
	const most = 1 << 20
	f, err := dir.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > most {
		return ""
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	return string(data)
}

// errUser says that an image names a user or group that its own files do not list.
var errUser = errors.New("no such user or group in the image")

// user parses USER[:GROUP]: numbers, or names in the image's own passwd and group files.
func user(s string, read func(path string) string) (u specs.User, err error) {
	name, group, grouped := strings.Cut(s, ":")
	if name != "" {
		entry, found := find(read("etc/passwd"), name, 4)
		if found {
			u.UID, u.GID = entry[0], entry[1]
		} else if u.UID, err = number(name); err != nil {
			return u, err
		}
	}
	if !grouped || group == "" {
		return u, nil
	}
	if entry, found := find(read("etc/group"), group, 3); found {
		u.GID = entry[0]
		return u, nil
	}
	u.GID, err = number(group)
	return u, err
}

// find looks for a name or number in a file such as passwd(5), and returns the numbers in the
// third field and those after it, up to the count in fields.
func find(file, name string, fields int) (ids []uint32, found bool) {
	for line := range strings.Lines(file) {
		entry := strings.Split(strings.TrimSpace(line), ":")
		if len(entry) < fields || entry[0] != name && entry[2] != name {
			continue
		}
		for _, field := range entry[2:fields] {
			id, err := number(field)
			if err != nil {
				return nil, false
			}
			ids = append(ids, id)
		}
		return ids, true
	}
	return nil, false
}

func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", errUser, text.Printable(s))
	}
	return uint32(n), nil
}
