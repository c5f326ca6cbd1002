package image

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/process"
)

const testDigest = Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

// entry makes a store with one image, without an import, and returns the image's directory.
func entry(t *testing.T, store string, format Format) string {
	t.Helper()
	hex, err := testDigest.Hex()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(store, ImagesDir, hex+"."+string(format))
	mkdir(t, dir)
	if format == Tree {
		mkdir(t, filepath.Join(dir, RootName(format)))
	} else {
		put(t, filepath.Join(dir, RootName(format)), "hsqs")
	}
	record(t, dir, Record{Version: RecordVersion, Digest: testDigest, Format: format, Size: 4})
	return dir
}

func record(t *testing.T, dir string, r Record) {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, RecordFile), string(data))
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// directory returns a temporary directory that, like all above it, others may not write to.
func directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mine(path string) Place { return Place{Path: path, Owners: []int{os.Geteuid()}} }

func openStore(t *testing.T, p Place) *Store {
	t.Helper()
	s, err := OpenStore(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A store is refused if others can change it, or a directory or link that leads to it.
func TestTrust(t *testing.T) {
	for name, c := range map[string]struct {
		make    func(dir string) (string, error)
		trusted bool
	}{
		"plain":            {func(dir string) (string, error) { return dir + "/s", os.Mkdir(dir+"/s", 0o755) }, true},
		"others may write": {func(dir string) (string, error) { return dir + "/s", made(dir+"/s", 0o757) }, false},
		"its group":        {func(dir string) (string, error) { return dir + "/s", made(dir+"/s", 0o775) }, false},
		"sticky":           {func(dir string) (string, error) { return dir + "/s", made(dir+"/s", 0o777|os.ModeSticky) }, false},
		"below sticky": {func(dir string) (string, error) {
			return dir + "/t/s", errors.Join(made(dir+"/t", 0o777|os.ModeSticky), made(dir+"/t/s", 0o755))
		}, true},
		"below writable": {func(dir string) (string, error) {
			return dir + "/t/s", errors.Join(made(dir+"/t", 0o777), made(dir+"/t/s", 0o755))
		}, false},
		"a link": {func(dir string) (string, error) {
			return dir + "/l", errors.Join(made(dir+"/s", 0o755), os.Symlink("./s", dir+"/l"))
		}, true},
		"a link upwards": {func(dir string) (string, error) {
			return dir + "/d/l", errors.Join(made(dir+"/s", 0o755), made(dir+"/d", 0o755), os.Symlink("../s", dir+"/d/l"))
		}, true},
		"an absolute link": {func(dir string) (string, error) {
			return dir + "/l", errors.Join(made(dir+"/s", 0o755), os.Symlink(dir+"/s", dir+"/l"))
		}, true},
		"a link to writable": {func(dir string) (string, error) {
			return dir + "/l", errors.Join(made(dir+"/s", 0o777), os.Symlink("s", dir+"/l"))
		}, false},
		"a link in sticky": {func(dir string) (string, error) {
			return dir + "/t/l", errors.Join(made(dir+"/s", 0o755), made(dir+"/t", 0o777|os.ModeSticky), os.Symlink("../s", dir+"/t/l"))
		}, false},
		"links in a circle": {func(dir string) (string, error) { return dir + "/l", os.Symlink("l", dir+"/l") }, false},
	} {
		path, err := c.make(directory(t))
		if err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(mine(path))
		if c.trusted && err != nil || !c.trusted && !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = s.Close()
		}
	}
}

func made(dir string, mode os.FileMode) error {
	return errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, mode))
}

// Another user's store is refused, and so is one that root keeps in another user's directory.
// A service user's store is accepted if the site lists that user as an owner.
func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give directories away")
	}
	dir := directory(t)
	mkdir(t, dir+"/other/store")
	if err := os.Chown(dir+"/other", 1234, 1234); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(mine(dir + "/other/store")); !errors.Is(err, ErrUntrusted) {
		t.Error(err)
	}
	s, err := OpenStore(Place{Path: dir + "/other/store", Owners: []int{1234}})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	image := entry(t, dir+"/own", Tree)
	for _, part := range []string{"", "/" + RecordFile, "/root", "/../../../images"} {
		own := openStore(t, mine(dir+"/own"))
		if err := os.Chown(image+part, 1234, 1234); err != nil {
			t.Fatal(err)
		}
		if _, reasons, err := (Stores{own}).Find(testDigest); !errors.Is(err, ErrNotFound) || len(reasons) == 0 || !errors.Is(reasons[0], ErrUntrusted) {
			t.Errorf("%q of another user: %v, %v", part, reasons, err)
		}
		if err := os.Chown(image+part, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// An image with a wrong record is skipped with a reason, and the next store is searched.
func TestFind(t *testing.T) {
	good := directory(t)
	entry(t, good, Squashfs)
	for name, spoil := range map[string]func(dir string) error{
		"no JSON":       func(dir string) error { return os.WriteFile(dir+"/"+RecordFile, []byte("{"), 0o644) },
		"unknown field": func(dir string) error { return os.WriteFile(dir+"/"+RecordFile, []byte(`{"version":1,"x":1}`), 0o644) },
		"another version": func(dir string) error {
			record(t, dir, Record{Version: 99, Digest: testDigest, Format: Tree})
			return nil
		},
		"another digest": func(dir string) error {
			record(t, dir, Record{Version: 1, Digest: Digest(strings.ReplaceAll(string(testDigest), "aa", "bb")), Format: Tree})
			return nil
		},
		"another format": func(dir string) error {
			record(t, dir, Record{Version: 1, Digest: testDigest, Format: "../x"})
			return nil
		},
		"a link": func(dir string) error { return errors.Join(os.Remove(dir+"/root"), os.Symlink("/", dir+"/root")) },
		"a fifo": func(dir string) error {
			return errors.Join(os.Remove(dir+"/"+RecordFile), unix.Mkfifo(dir+"/"+RecordFile, 0o644))
		},
		"huge": func(dir string) error { return os.Truncate(dir+"/"+RecordFile, recordMost+1) },
		"no root": func(dir string) error {
			return errors.Join(os.Remove(dir+"/root"), os.WriteFile(dir+"/root", nil, 0o644))
		},
		"writable": func(dir string) error { return os.Chmod(dir, 0o777) },
	} {
		bad := directory(t)
		if err := spoil(entry(t, bad, Tree)); err != nil {
			t.Fatal(err)
		}
		stores, reasons := OpenStores(mine(filepath.Join(bad, "none")), mine(bad), mine(good))
		if len(stores) != 2 || len(reasons) > 0 {
			t.Fatal(stores, reasons)
		}
		found, reasons, err := stores.Find(testDigest)
		if err != nil || found.Store.Path != good || len(reasons) != 1 {
			t.Errorf("%s: %v, %v", name, reasons, err)
		}
		if _, passed, err := stores[0].List(); err != nil || len(passed) != 1 {
			t.Errorf("%s: list: %v, %v", name, passed, err)
		}
		if err := stores.Close(); err != nil {
			t.Error(err)
		}
	}
	s := openStore(t, mine(good))
	put(t, filepath.Join(good, ImagesDir, strings.TrimPrefix(string(testDigest), "sha256:")+".sqfs", RootName(Squashfs)), "longer")
	if _, err := s.Open(testDigest, Squashfs); !errors.Is(err, ErrRecord) {
		t.Errorf("a file of another size: %v", err)
	}
	for _, wrong := range []Digest{"", "sha256:", "sha256:../../etc", "sha512:" + testDigest[7:], Digest(strings.ToUpper(string(testDigest)))} {
		if _, _, err := (Stores{s}).Find(wrong); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// An open image stays the one that was found, even if another takes its place in the store.
func TestSwappedEntry(t *testing.T) {
	dir := directory(t)
	image := entry(t, dir, Tree)
	put(t, image+"/root/first", "")
	s := openStore(t, mine(dir))
	found, err := s.Open(testDigest, Tree)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close() //nolint:errcheck // only read
	if err := os.Rename(image, dir+"/gone"); err != nil {
		t.Fatal(err)
	}
	put(t, entry(t, dir, Tree)+"/root/second", "")
	var st unix.Stat_t
	if err := unix.Fstatat(int(found.Root.Fd()), "first", &st, 0); err != nil {
		t.Errorf("first: %v", err)
	}
	if err := unix.Fstatat(int(found.Root.Fd()), "second", &st, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("second: %v", err)
	}
}

// Every name has its own file, and a file that describes another name is refused.
func TestRefs(t *testing.T) {
	dir := directory(t)
	mkdir(t, filepath.Join(dir, RefsDir))
	s := openStore(t, mine(dir))
	names := []string{"docker://a/b:1", "docker://a+b:1", "docker://a/b+3a1", "..", ".", "", "A", "a", "ü", "\xff\n", strings.Repeat("long/", 100), strings.Repeat("long/", 101)}
	files := map[string]bool{}
	for _, name := range names {
		file := RefFile(name)
		if files[file] || strings.ContainsAny(file, "/\x00\n") || strings.HasPrefix(file, ".") || len(file) > 255 {
			t.Errorf("%q: %q", name, file)
		}
		files[file] = true
		if name == "" || name == "\xff\n" { // an empty file name; JSON has no such byte
			continue
		}
		data, err := json.Marshal(Ref{Name: name, Digest: testDigest, Time: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, RefsDir, file), string(data))
	}
	for _, name := range names {
		ref, _, err := Stores{s}.Lookup(name)
		if name == "" || name == "\xff\n" {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %v", name, err)
			}
		} else if err != nil || ref.Name != name {
			t.Errorf("%q: %v, %v", name, ref, err)
		}
	}
	if err := os.Rename(filepath.Join(dir, RefsDir, "a"), filepath.Join(dir, RefsDir, "b")); err != nil {
		t.Fatal(err)
	}
	if _, reasons, err := (Stores{s}).Lookup("b"); !errors.Is(err, ErrNotFound) || len(reasons) != 1 {
		t.Errorf("%v, %v", reasons, err)
	}
	refs, reasons, err := s.Refs()
	if err != nil || len(refs) != len(names)-3 || len(reasons) != 1 {
		t.Errorf("%d names, %v, %v", len(refs), reasons, err)
	}
}

// The stamp is renewed when it is older than an hour, and only then.
func TestTouch(t *testing.T) {
	dir := directory(t)
	image := entry(t, dir, Tree)
	s := openStore(t, mine(dir))
	found, err := s.Open(testDigest, Tree)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close() //nolint:errcheck // only read
	for _, age := range []time.Duration{0, stampAge / 2, stampAge * 2} {
		if err := found.Touch(); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(image+"/"+UsedFile, then, then); err != nil {
			t.Fatal(err)
		}
		if err := found.Touch(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(image + "/" + UsedFile)
		if err != nil {
			t.Fatal(err)
		}
		if renewed := !info.ModTime().Equal(then.Truncate(1)); renewed != (age > stampAge) {
			t.Errorf("after %s: renewed %v", age, renewed)
		}
	}
}

func TestUseEnds(t *testing.T) {
	self, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	here := Use{Host: "here", Boot: "1", Process: self, Pids: process.Numbering()}
	dead, rebooted, elsewhere, late, inside := here, here, here, here, here
	dead.Process.Start++
	rebooted.Boot = "0"
	elsewhere.Host, elsewhere.Until = "there", now.Add(time.Minute)
	late.Host, late.Until = "there", now.Add(-time.Minute)
	inside.Pids, inside.Until, inside.Process.Start = 1, now.Add(time.Minute), 0
	for name, c := range map[string]struct {
		use  Use
		want bool
	}{"here": {here, false}, "dead": {dead, true}, "rebooted": {rebooted, true}, "elsewhere": {elsewhere, false}, "late": {late, true}, "in another pid namespace": {inside, false}} {
		if got := c.use.Ended("here", "1", now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
