package runtime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// A launched is a bundle for a test that its recorded edits make what is launched. In its
// configuration, HOST stands for a directory of the host, UID and GID for the caller's, and
// NUMBER for a descriptor.
type launched struct {
	process, mounts, linux string        // members of config.json, with a comma before where there are others
	image                  []string      // fifos in the image
	edits                  []bundle.Edit // of a provider
	options                LaunchOptions
	want                   string // the origins of the expected edits, with commas between
	byLibcontainer         string // further ones with libcontainer
}

const ordinaryID = 65534

func launchedBundles() map[string]launched {
	const tmp = `{"destination":"/dev","type":"tmpfs","source":"tmpfs"}`
	return map[string]launched{
		"nothing": {},
		"relative": {
			mounts: `{"destination":"data","source":"HOST","options":["defaults","rbind"]},{"destination":"/data/","source":"../bundle","type":"bind","options":["","ro"]},` +
				`{"destination":"/data","source":"HOST","options":["defaults","bind"]}`,
			want: "plain mounts",
		},
		"over the root": {mounts: tmp + `,{"destination":"/","source":"HOST","options":["rbind","ro"]},{"destination":"run","type":"tmpfs","options":["defaults"]}`, want: "config.json,plain mounts"},
		"injected": {
			mounts: tmp + `,{"destination":"/dev/own/file","source":"HOST/file","options":["bind"]}`,
			edits: []bundle.Edit{{
				From: "gpu", Files: []bundle.File{{Path: "/etc/cache", Data: []byte("x")}, {Path: "/proc/cpuinfo", Optional: true}},
				Links: []bundle.Link{{Path: "/dev/own/link", Target: "file"}, {Path: "/lib/link", Target: "x"}}, Directories: []string{"/dev/dir", "/new/dir"},
			}},
			want: "injected files,injected directories,mount points",
		},
		"dots":          {process: `,"cwd":"/none/../tmp"`, mounts: `{"destination":"/none/../opt","type":"tmpfs","source":"tmpfs"}`, options: LaunchOptions{Policies: ForSlurmTask(false)}, want: "mount points"},
		"missing":       {mounts: `{"destination":"/var/a/b","source":"HOST","options":["rbind"]},{"destination":"/tmp/x","type":"tmpfs","source":"tmpfs"}`, options: LaunchOptions{Policies: ForSlurmTask(false)}, want: "mount points"},
		"fifo":          {linux: `,"devices":[{"path":"/dev/fifo","type":"p","major":3,"minor":4}]`, byLibcontainer: "plain devices"},
		"no home":       {image: []string{"etc/passwd"}, byLibcontainer: "home"},
		"no such right": {process: `,"capabilities":{"bounding":["CAP_CHOWN","CAP_MAC_ADMIN","CAP_SYS_MODULE"],"effective":["CAP_MAC_ADMIN"]}`},
		"terminals":     {mounts: `{"destination":"/dev/pts","type":"devpts","source":"devpts","options":["gid=5","gid=77777"]}`},
		"listening":     {options: LaunchOptions{ListenFDs: 1}, want: "systemd"},
		"notifying":     {options: LaunchOptions{NotifySocket: "/nowhere"}, want: "systemd"},
		"flags below":   {mounts: `{"destination":"/data","source":"HOST","options":["rbind","ro","nosuid"]}`, options: LaunchOptions{InPlace: true, NoPivot: true}},
		"PMI2":          {process: `,"env":["PMI_FD=NUMBER"]`, options: LaunchOptions{Policies: ForSlurmTask(false)}, byLibcontainer: "PMI2"},
		"of the kernel": {mounts: `{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/sys","type":"sysfs","source":"sysfs","options":["ro"]}`},
		"odd name":      {mounts: "{\"destination\":\"/data\",\"source\":\"HOST/\xff\",\"options\":[\"bind\"]}", byLibcontainer: "names"},
	}
}

// The bundle as it was written, with the recorded edits, is what is launched: nothing is
// changed on the way to a launcher except by edits.
func TestEditsAreWhatIsLaunched(t *testing.T) {
	keepDirectory(t)
	for name, l := range launchedBundles() {
		for _, uid := range []int{os.Geteuid(), ordinaryID} {
			for _, inPlace := range []bool{false, true} {
				if !l.goes(uid, inPlace) {
					continue
				}
				dir := l.make(t, uid)
				t.Run(fmt.Sprintf("%s/uid=%d/inplace=%v", name, uid, inPlace), func(t *testing.T) {
					become(t, uid)
					l.check(t, dir, inPlace)
				})
			}
		}
	}
}

// goes reports whether the launcher can launch such a container, as far as this test has the
// descriptors that it would get.
func (l launched) goes(uid int, inPlace bool) bool {
	if os.Geteuid() != 0 && uid != os.Geteuid() {
		return false
	}
	if inPlace {
		return uid != 0 && !l.options.NoPivot && l.options.NotifySocket == ""
	}
	return l.options.ListenFDs == 0
}

// keepDirectory restores the working directory after the test: launches enter their bundles.
func keepDirectory(t *testing.T) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chdir(dir) })
}

// become gives the test's thread the user's ids. The thread ends with the test.
func become(t *testing.T, uid int) {
	t.Helper()
	if uid == os.Geteuid() {
		return
	}
	goruntime.LockOSThread()
	for _, number := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, err := unix.RawSyscall(number, uintptr(uid), uintptr(uid), uintptr(uid)); err != 0 {
			t.Fatal(err)
		}
	}
}

// make makes the bundle, its image and a directory for its state, all of them the user's.
func (l launched) make(t *testing.T, uid int) string {
	t.Helper()
	dir := t.TempDir()
	for _, made := range []string{"bundle/rootfs/tmp", "bundle/rootfs/opt", "bundle/rootfs/etc", "bundle/rootfs/lib", "bundle/rootfs/dev", "bundle/rootfs/proc", "bundle/rootfs/sys", "bundle/rootfs/data", "host/run", "host/\xff", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, made), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range l.image {
		if err := unix.Mkfifo(filepath.Join(dir, "bundle/rootfs", name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	process := `"args":["/bin/true"],"cwd":"/","user":{"uid":UID,"gid":GID},"noNewPrivileges":true` + l.process
	text := fmt.Sprintf(`{"ociVersion":"1.2.0","root":{"path":"rootfs"},"process":{%s},"mounts":[%s],"linux":{"namespaces":[{"type":"mount"},{"type":"user"}]%s}}`, process, l.mounts, l.linux)
	if uid == 0 {
		text = strings.Replace(text, `,{"type":"user"}`, "", 1)
	}
	if before, after, found := strings.Cut(text, "NUMBER"); found {
		text = before + strconv.Itoa(passedOn(t)) + after
	}
	text = strings.NewReplacer("HOST", filepath.Join(dir, "host"), "UID", strconv.Itoa(uid), "GID", strconv.Itoa(uid)).Replace(text)
	for name, content := range map[string]string{"bundle/config.json": text, "host/file": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(dir, "state"), uid, uid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// passedOn returns a descriptor like one from a caller. The launch owns it.
func passedOn(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func (l launched) check(t *testing.T, dir string, inPlace bool) {
	t.Helper()
	s, err := MakeStore(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Load(filepath.Join(dir, "bundle"))
	if err != nil {
		t.Fatal(err)
	}
	b.ID = "replayed"
	if err := b.Apply(l.edits...); err != nil {
		t.Fatal(err)
	}
	made, err := newLaunch(s, b, l.options)
	if err != nil {
		t.Fatal(err)
	}
	defer made.c.entry.Unlock()
	defer made.abort()
	var task *inplace.Task
	if inPlace {
		if err = made.planInPlace(); err == nil {
			task, err = made.newTask()
		}
	} else {
		err = made.prepare()
	}
	if err != nil {
		t.Fatal(err)
	}
	again := replay(t, made.c, b)
	if inPlace {
		compareTasks(t, task, again, made.c.Rootfs)
	} else {
		compareContainers(t, made, again)
	}
	wanted := l.want
	if !inPlace {
		wanted += "," + l.byLibcontainer
	}
	for want := range strings.SplitSeq(wanted, ",") {
		if want != "" && !slices.ContainsFunc(b.Applied, func(e bundle.Edit) bool { return e.From == want }) {
			t.Errorf("no edit is from %q: %+v", want, b.Applied)
		}
	}
}

// replay applies the recorded edits to the bundle as it was written.
func replay(t *testing.T, c *Container, b *bundle.Bundle) *bundle.Bundle {
	t.Helper()
	if err := c.keepEdits(b.Applied); err != nil {
		t.Fatal(err)
	}
	text, err := c.Edits()
	if err != nil {
		t.Fatal(err)
	}
	var edits []bundle.Edit
	if err := bundle.Unmarshal(text, &edits); err != nil {
		t.Fatal(err)
	}
	again, err := bundle.LoadPlain(b.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Apply(edits...); err != nil {
		t.Fatal(err)
	}
	again.ID = b.ID
	want, got := marshalled(t, b.Spec), marshalled(t, again.Spec)
	if !bytes.Equal(want, got) || again.Rootfs != b.Rootfs {
		t.Errorf("%s and the edits\n%s\nmake\n%s\nlaunched is\n%s", again.Rootfs, text, got, want)
	}
	return again
}

func marshalled(t *testing.T, v any) []byte {
	t.Helper()
	text, err := bundle.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// compareTasks compares what is handed to the launch in place.
func compareTasks(t *testing.T, task *inplace.Task, again *bundle.Bundle, image string) {
	t.Helper()
	want, err := inplace.NewTask(again, image)
	if err != nil {
		t.Fatal(err)
	}
	task.Entry, task.Gone, task.Parent, task.State = "", "", 0, nil
	if got, want := marshalled(t, task), marshalled(t, want); !bytes.Equal(got, want) {
		t.Errorf("launched is\n%s\nwant\n%s", got, want)
	}
}

// compareContainers compares what is handed to libcontainer.
func compareContainers(t *testing.T, made *launch, again *bundle.Bundle) {
	t.Helper()
	config, err := convert(again, made.o, made.c.entry.Name())
	if err != nil {
		t.Fatal(err)
	}
	launched := made.lc.Config()
	of := func(c *configs.Config) []any {
		return []any{c.Rootfs, c.Readonlyfs, c.Mounts, c.Devices, c.Namespaces, c.UIDMappings, c.GIDMappings, c.MaskPaths, c.ReadonlyPaths}
	}
	for i, got := range of(&launched) {
		if want := of(config)[i]; !reflect.DeepEqual(got, want) {
			t.Errorf("launched is\n%+v\nwant\n%+v", got, want)
		}
	}
	want, err := newProcess(again.Spec.Process)
	if err != nil {
		t.Fatal(err)
	}
	want.Init, want.ExtraFiles = true, made.process.ExtraFiles
	want.Env, made.process.Env = slices.Concat(want.Env), slices.Concat(made.process.Env) // an empty one becomes nil
	if !reflect.DeepEqual(made.process, want) {
		t.Errorf("launched is\n%+v\nwant\n%+v", made.process, want)
	}
}
