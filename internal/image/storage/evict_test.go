package storage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/process"
)

// The least recently used image is removed first; images that jobs use stay.
func TestEvict(t *testing.T) {
	s := open(t, place(t))
	s.grace = time.Hour
	var all []*image.Image
	now := time.Now()
	for n := range 4 {
		i := bring(t, s, sample(3+n), image.Tree)
		if err := errors.Join(i.Touch(), s.SetRef(fmt.Sprint("name", n), i.Digest)); err != nil {
			t.Fatal(err)
		}
		at := now.Add(time.Duration(n) * time.Hour)
		if err := os.Chtimes(filepath.Join(filepath.Dir(i.Path), image.UsedFile), at, at); err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	self, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := all[0].Mark(image.Use{Host: s.host, Boot: process.BootID(), Process: self, Pids: process.Numbering()}); err != nil {
		t.Fatal(err)
	}
	if err := all[1].Mark(image.Use{Host: "another", Until: time.Now().Add(-time.Minute)}); err != nil {
		t.Fatal(err)
	}
	freed, err := s.Evict(all[0].Size + all[3].Size)
	if err != nil || len(freed.Images) != 2 || freed.Images[0] != all[1].Entry() || freed.Images[1] != all[2].Entry() {
		t.Fatalf("%+v, %v", freed, err)
	}
	if err := s.Remove(all[0].Digest); !errors.Is(err, ErrUsed) {
		t.Error(err)
	}
	if err := all[1].Mark(image.Use{Host: "another"}); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("a mark on what was taken away: %v", err)
	}
	refs, reasons, err := s.Refs()
	if err != nil || len(refs) != 2 || len(reasons) > 0 {
		t.Errorf("%v, %v, %v", refs, reasons, err)
	}
	// A process that has the image open goes on until the grace time is over.
	if err := Verify(all[1]); err != nil {
		t.Error(err)
	}
	s.grace = 0
	if _, err := s.Evict(1 << 40); err != nil {
		t.Error(err)
	}
	if trash, err := os.ReadDir(filepath.Join(s.Path, image.TrashDir)); err != nil || len(trash) > 0 {
		t.Errorf("%v, %v", trash, err)
	}
}

// An import on a full disk, or on one without free inodes, fails with that error and leaves nothing.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	for limit, format := range map[string]image.Format{"size=128k": image.Tree, "nr_inodes=40": image.Tree, "size=8k": image.Squashfs} {
		p := place(t)
		if err := os.Mkdir(p.Path, 0o700); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=700,"+limit, "none", p.Path).CombinedOutput(); err != nil {
			t.Skipf("mount: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("umount", "-l", p.Path).Run() })
		s := open(t, p)
		_, err := s.Import(t.Context(), sample(50), Options{Format: format, Limits: layers.DefaultLimits()})
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "no space left") {
			t.Errorf("%s: %v", limit, err)
		}
		if names := left(t, s); len(names) > 0 {
			t.Errorf("left: %v", names)
		}
	}
}

// What names meant for jobs goes when the jobs must be over.
func TestForgetJobs(t *testing.T) {
	s := open(t, place(t))
	ref := image.Ref{Name: "docker://x/y:1", Digest: image.Digest("sha256:" + strings.Repeat("0", 64)), Time: time.Now()}
	for _, job := range []string{"old", "new"} {
		if first, err := s.Pin(job, ref); err != nil || first.Digest != ref.Digest {
			t.Fatalf("%+v, %v", first, err)
		}
	}
	moved := ref
	moved.Digest = image.Digest("sha256:" + strings.Repeat("1", 64))
	if second, err := s.Pin("new", moved); err != nil || second.Digest != ref.Digest {
		t.Errorf("the name means something else to the same job: %+v, %v", second, err)
	}
	long := time.Now().Add(-2 * oldestJob)
	if err := os.Chtimes(filepath.Join(s.Path, image.PinsDir, "old"), long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Evict(1 << 40); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pinned("old", ref.Name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old job: %v", err)
	}
	if found, err := s.Pinned("new", ref.Name); err != nil || found.Digest != ref.Digest {
		t.Errorf("a new job: %+v, %v", found, err)
	}
}
