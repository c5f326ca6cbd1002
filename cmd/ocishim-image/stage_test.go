package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/storage"
)

// Outside of a job an image is copied to this host's disk, where it is looked for first.
func TestStageHere(t *testing.T) {
	s, dir := newScene(t), newLayout(t)
	disk, name := filepath.Join(s.home, "disk"), "oci:"+dir+":tag"
	if _, err := s.call(t, "stage", name); !errors.Is(err, errNoLocal) || !strings.Contains(hint(err), "image.local") {
		t.Errorf("without a place: %v, %s", err, hint(err))
	}
	if _, err := s.call(t, "stage", "--pull", "never", name, disk); !errors.Is(err, errNotHere) {
		t.Errorf("what is not to be pulled: %v", err)
	}
	digest := s.ok(t, "stage", "--format", "tree", name, disk)
	var d decision
	where := s.ok(t, "--local-store", disk, "which", "--json", name)
	if err := json.Unmarshal([]byte(where), &d); err != nil || d.Store != disk || string(d.Digest) != digest || d.Format != image.Tree {
		t.Errorf("which: %s, %v", where, err)
	}
	if info, err := os.Stat(disk); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the store: %v, %v", info, err)
	}
	// Of the copy nothing but the image is left, and its members are those of the original.
	if left := mustRead(t, filepath.Join(disk, image.TmpDir)); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	s.ok(t, "--local-store", disk, "verify", digest)
	if again := s.ok(t, "stage", digest, disk); again != digest {
		t.Errorf("again, by digest: %s", again)
	}
	// A step copies to its own host, as outside of jobs.
	if out := s.with("SLURM_JOB_ID=1", "SLURM_STEP_ID=3", "SLURM_JOB_NUM_NODES=5").ok(t, "stage", name, disk+"2"); out != digest || len(mustRead(t, disk+"2")) == 0 {
		t.Errorf("in a step: %s", out)
	}
	if _, err := s.with("SLURM_JOB_ID=1", "SLURM_JOB_NUM_NODES=many").call(t, "stage", name, disk); err == nil || !strings.Contains(err.Error(), `SLURM_JOB_NUM_NODES="many" in a job: expected a number`) {
		t.Error(err)
	}
	// Only the local store is changed.
	if out := s.ok(t, "--local-store", disk, "gc", "--local", "--max-size", "0"); !strings.Contains(out, "removed") {
		t.Errorf("gc: %s", out)
	}
	s.ok(t, "--local-store", disk+"2", "rm", "--local", digest)
	s.ok(t, "inspect", digest)
	for _, place := range []string{disk, disk + "2"} {
		if left := mustRead(t, filepath.Join(place, image.ImagesDir)); len(left) > 0 {
			t.Errorf("left in %s: %q", place, left)
		}
	}
}

// A store that others can write to, or that is a link of somebody's in /tmp, gets no copy.
func TestStageUntrusted(t *testing.T) {
	s, dir := newScene(t), newLayout(t)
	open := filepath.Join(s.home, "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(s.home, "shared")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777|os.ModeSticky), os.Mkdir(filepath.Join(s.home, "real"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(s.home, "real"), filepath.Join(shared, "link")); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{open, filepath.Join(shared, "link")} {
		if _, err := s.call(t, "stage", "--format", "tree", "oci:"+dir+":tag", place); !errors.Is(err, image.ErrUntrusted) {
			t.Errorf("%s: %v", place, err)
		}
		if left := mustRead(t, place); len(left) > 0 {
			t.Errorf("left in %s: %q", place, left)
		}
	}
}

// send calls receive with an order.
func (s scene) send(t *testing.T, disk, order string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "order")
	if err := os.WriteFile(file, []byte(order), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stdin := os.Stdin
	os.Stdin = f
	defer func() { os.Stdin = stdin }()
	return s.with("SLURMD_NODENAME=n7").call(t, "--local-store", disk, "receive")
}

// A host takes a file over only if it is what was sent, and removes it otherwise.
func TestReceive(t *testing.T) {
	s, dir := newScene(t), newLayout(t)
	disk := filepath.Join(s.home, "disk")
	digest := s.ok(t, "pull", "--format", "sqfs", "oci:"+dir+":tag")
	hex, _ := image.Digest(digest).Hex()
	sent, err := os.ReadFile(filepath.Join(s.store, image.ImagesDir, hex+".sqfs", "root.sqfs"))
	if err != nil {
		t.Fatal(err)
	}
	var record image.Record
	data, err := os.ReadFile(filepath.Join(s.store, image.ImagesDir, hex+".sqfs", image.RecordFile))
	if err == nil {
		err = json.Unmarshal(data, &record)
	}
	if err != nil {
		t.Fatal(err)
	}
	write := func(o order) string {
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if out, err := s.send(t, disk, write(order{Record: record, Format: image.Squashfs, Prepare: true})); err != nil || out != "" {
		t.Errorf("prepare: %q, %v", out, err)
	}
	tmp := filepath.Join(disk, image.TmpDir)
	broken := append([]byte{}, sent...)
	broken[len(broken)/2] ^= 1
	for _, format := range []image.Format{image.Squashfs, image.Tree} {
		for what, c := range map[string]struct {
			content []byte
			is      error
		}{
			"a bit is wrong": {broken, storage.ErrDamaged}, "too short": {sent[:100], storage.ErrDamaged}, "not there": {nil, os.ErrNotExist},
		} {
			if c.content != nil {
				if err := os.WriteFile(filepath.Join(tmp, "staged.x"), c.content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.send(t, disk, write(order{Record: record, Format: format, File: "staged.x"}))
			if !errors.Is(err, c.is) || !strings.HasPrefix(err.Error(), "on n7: ") {
				t.Errorf("%s, %s: %v", what, format, err)
			}
			if left := append(mustRead(t, tmp), mustRead(t, filepath.Join(disk, image.ImagesDir))...); len(left) > 0 {
				t.Errorf("%s, %s: left: %q", what, format, left)
			}
		}
	}
	// A link is not followed, a path not accepted.
	if err := os.Symlink(filepath.Join(s.store, image.ImagesDir, hex+".sqfs", "root.sqfs"), filepath.Join(tmp, "staged.x")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"staged.x", "../../store/" + image.ImagesDir + "/" + hex + ".sqfs/root.sqfs"} {
		if _, err := s.send(t, disk, write(order{Record: record, Format: image.Squashfs, File: file})); err == nil {
			t.Errorf("%s is taken over", file)
		}
	}
	for _, garbage := range []string{"", "{", `{"other":1}`} {
		if _, err := s.send(t, disk, garbage); err == nil || !strings.Contains(err.Error(), "read order") {
			t.Errorf("%q: %v", garbage, err)
		}
	}
	// What is whole becomes the image itself, and is not copied.
	file := filepath.Join(tmp, "staged.x")
	if err := os.WriteFile(file, sent, 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.send(t, disk, write(order{Record: record, Format: image.Squashfs, File: "staged.x"})); err != nil || out != "n7\n" {
		t.Fatalf("%q, %v", out, err)
	}
	after, err := os.Stat(filepath.Join(disk, image.ImagesDir, hex+".sqfs", "root.sqfs"))
	if err != nil || !os.SameFile(before, after) || after.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", after, err)
	}
	s.ok(t, "--store", disk, "verify", digest)
	if out, err := s.send(t, disk, write(order{Record: record, Format: image.Squashfs, Prepare: true})); err != nil || out != "n7\n" {
		t.Errorf("prepare, where it is: %q, %v", out, err)
	}
	if left := mustRead(t, tmp); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
