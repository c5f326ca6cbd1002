package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

func testStore(t *testing.T) *Store {
	t.Helper()
	s, err := MakeStore(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// liveProcess starts a process that lives until the test ends.
func liveProcess(t *testing.T) process.ID {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p, err := process.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// deadProcess returns a process that has ended, and whose pid another process has.
func deadProcess(t *testing.T) process.ID {
	t.Helper()
	p := self(t)
	p.Start++ // the pid is ours now
	return p
}

func self(t *testing.T) process.ID {
	t.Helper()
	p, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProcessIsNotItsPid(t *testing.T) {
	p := self(t)
	if !p.Alive() {
		t.Error("this process is not alive")
	}
	p.Start++
	if p.Alive() {
		t.Error("a process with our pid and another start time is alive")
	}
	if err := p.Signal(9); !gone(err) {
		t.Errorf("signal to a reused pid: %v, want ESRCH", err)
	}
	if (process.ID{}).Alive() {
		t.Error("no process is alive")
	}
}

func TestStatus(t *testing.T) {
	boot := process.BootID()
	live, dead := liveProcess(t), deadProcess(t)
	for name, test := range map[string]struct {
		record Record
		want   entry.Status
	}{
		"creator at work":             {Record{Boot: boot, Launcher: live}, entry.Creating},
		"creator killed":              {Record{Boot: boot, Launcher: dead}, entry.Stopped},
		"first process runs":          {Record{Boot: boot, Launcher: dead, Init: live}, entry.Running},
		"first process ended":         {Record{Boot: boot, Launcher: live, Init: dead}, entry.Stopped},
		"tombstone, pid reused by us": {Record{Boot: boot, Launcher: live, Init: live, Ended: time.Now()}, entry.Stopped},
		"before the reboot":           {Record{Boot: "other", Launcher: live, Init: live}, entry.Stopped},
	} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t)
			test.record.ID = "c"
			c, err := s.claim(test.record)
			if err != nil {
				t.Fatal(err)
			}
			c.entry.Unlock()
			got, err := s.Get("c")
			if err != nil {
				t.Fatal(err)
			}
			if got.Status() != test.want {
				t.Errorf("status %s, want %s", got.Status(), test.want)
			}
		})
	}
}

// If many claim the same id at once, one gets it.
func TestClaimOnce(t *testing.T) {
	s := testStore(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 32 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, err := s.claim(Record{ID: "same", Boot: process.BootID(), Launcher: self(t)})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, entry.ErrExists) {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 32 claimed the id, want 1", won)
	}
	assertNames(t, s, "same")
}

// A requeued Slurm job, or a launch that was killed, does not block its id; an engine's
// container that has ended does, until delete.
func TestClaimAgain(t *testing.T) {
	boot, dead := process.BootID(), deadProcess(t)
	for name, test := range map[string]struct {
		old, next Record
		want      error
	}{
		"requeued task":      {Record{Boot: boot, Lifetime: TombstoneOfStep, Ended: time.Now()}, Record{Lifetime: TombstoneOfStep}, nil},
		"killed in creation": {Record{Boot: boot, Launcher: dead}, Record{}, nil},
		"killed supervisor":  {Record{Boot: boot, Launcher: dead, Init: dead, Supervised: true}, Record{}, nil},
		"engine's stopped":   {Record{Boot: boot, Launcher: dead, Init: dead}, Record{}, entry.ErrExists},
		"kept":               {Record{Boot: boot, Launcher: dead, Init: dead, Supervised: true, Lifetime: UntilDelete, Ended: time.Now()}, Record{}, entry.ErrExists},
		"running task":       {Record{Boot: boot, Lifetime: TombstoneOfStep, Init: self(t)}, Record{Lifetime: TombstoneOfStep}, entry.ErrExists},
	} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t)
			test.old.ID, test.next.ID = "c", "c"
			old, err := s.claim(test.old)
			if err != nil {
				t.Fatal(err)
			}
			old.entry.Unlock()
			if _, err := s.claim(test.next); !errors.Is(err, test.want) {
				t.Errorf("second claim: %v, want %v", err, test.want)
			}
			assertNames(t, s, "c")
		})
	}
}

// halfMade returns the name of an entry that a process in a pid namespace is making.
func halfMade(numbering uint64, pid int, start uint64) string {
	return fmt.Sprintf(".ocishim-new-%d.%d.%d-1", numbering, pid, start)
}

func TestSweep(t *testing.T) {
	s := testStore(t)
	boot, dead, live := process.BootID(), deadProcess(t), liveProcess(t)
	gone := process.ID{Pid: 1 << 22, Start: 1} // above the kernel's limit of pids
	young := []string{"young-orphan", "young-running", command(gone), command(live) + ".n1"}
	for id, r := range map[string]Record{
		command(gone):         {Boot: boot, Launcher: gone, Init: gone, InPlace: true},
		command(live) + ".n1": {Boot: boot, Launcher: live, Init: live, InPlace: true},

		"gone-step":     {Boot: boot, Lifetime: TombstoneOfStep, Ended: time.Now(), Daemon: dead},
		"live-step":     {Boot: boot, Lifetime: TombstoneOfStep, Ended: time.Now(), Daemon: live},
		"debris":        {Boot: boot, Launcher: dead},
		"orphan":        {Boot: boot, Launcher: dead, Init: dead, Supervised: true},
		"engine":        {Boot: boot, Launcher: dead, Init: dead},
		"kept":          {Boot: boot, Launcher: dead, Init: dead, Supervised: true, Lifetime: UntilDelete},
		"running":       {Boot: boot, Launcher: live, Init: live, Supervised: true},
		"creating":      {Boot: boot, Launcher: live},
		"other-boot":    {Boot: "x", Lifetime: TombstoneOfStep, Daemon: live},
		"young-orphan":  {Boot: boot, Launcher: dead, Init: dead, Supervised: true},
		"young-running": {Boot: boot, Launcher: live, Init: live},
	} {
		r.ID = id
		c, err := s.claim(r)
		if err != nil {
			t.Fatal(err)
		}
		c.entry.Unlock()
		if !slices.Contains(young, id) {
			age(t, c.dir())
		}
	}
	for _, name := range []string{".ocishim-new-1", ".ocishim-gone-2", "not-ours"} {
		dir := filepath.Join(s.root.Dir(), name)
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		age(t, dir)
	}
	maker := liveProcess(t)
	for _, name := range []string{halfMade(process.Numbering(), maker.Pid, maker.Start+1), halfMade(process.Numbering(), maker.Pid, maker.Start), halfMade(7, maker.Pid, maker.Start+1)} {
		if err := os.MkdirAll(filepath.Join(s.root.Dir(), name, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.Sweep()
	assertNames(t, s, halfMade(process.Numbering(), maker.Pid, maker.Start), halfMade(7, maker.Pid, maker.Start+1), command(live)+".n1", "creating", "engine", "kept", "live-step", "not-ours", "running", "young-orphan", "young-running")
}

// command is the id of a container for one command.
func command(p process.ID) string { return CommandPrefix + strconv.Itoa(p.Pid) }

// age makes the directory older than Sweep leaves alone.
func age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-2 * entry.SweepAge)
	if err := os.Chtimes(dir, old, old); err != nil {
		t.Fatal(err)
	}
}

func assertNames(t *testing.T, s *Store, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(s.root.Dir())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != len(want) {
		t.Fatalf("store holds %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("store holds %q, want %q", got, want)
		}
	}
}

func TestWithPrefix(t *testing.T) {
	s := testStore(t)
	for _, id := range []string{"n1.alice.5.0.0", "n1.alice.5.0.1", "n1.alice.5.0.10", "n1.alice.5.1.0", "n1.alice.50.0.0", "n2.alice.5.0.0", "n1.alice.5.0.0.x"} {
		c, err := s.claim(Record{ID: id, Lifetime: TombstoneOfStep})
		if err != nil {
			t.Fatal(err)
		}
		c.entry.Unlock()
	}
	tasks, err := s.WithPrefix("n1.alice.5.0.")
	if err != nil || len(tasks) != 3 {
		t.Errorf("WithPrefix gives %d containers, %v, want 3", len(tasks), err)
	}
	if _, err := s.WithPrefix("n3."); !errors.Is(err, entry.ErrNotFound) {
		t.Errorf("WithPrefix of nothing: %v, want entry.ErrNotFound", err)
	}
}

// A record that was moved, or copied from another store, is not believed.
func TestForeignRecord(t *testing.T) {
	s := testStore(t)
	c, err := s.claim(Record{ID: "real"})
	if err != nil {
		t.Fatal(err)
	}
	c.entry.Unlock()
	if err := os.Rename(c.dir(), filepath.Join(s.root.Dir(), "other")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get("other"); err == nil {
		t.Errorf("Get gives %+v", got.Record)
	}
}

// Delete waits for the process that works on a container, and kills one that hangs.
func TestDeleteOfLocked(t *testing.T) {
	s := testStore(t)
	holder := exec.Command("sleep", "1000")
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := process.Identify(holder.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.claim(Record{ID: "c", Boot: process.BootID(), Launcher: p})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = holder.Wait() // the lock goes with its holder, as flock does
		c.entry.Unlock()
		close(ended)
	}()
	other, err := s.Get("c")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Delete(true); err != nil {
		t.Fatal(err)
	}
	<-ended
	assertNames(t, s)
}

// A record that was garbled by a crash of the host does not block its id.
func TestGarbage(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"truncated": func(p string) error { return os.Truncate(p, 3) },
		"a link":    func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/dev/zero", p)) },
		"a pipe":    func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600)) },
		"huge":      func(p string) error { return os.Truncate(p, entry.MaxRecord+1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t)
			c, err := s.claim(Record{ID: "a@b", Boot: process.BootID(), Launcher: self(t), Init: self(t)})
			if err != nil {
				t.Fatal(err)
			}
			c.entry.Unlock()
			if err := spoil(c.entry.File(entry.RecordFile)); err != nil {
				t.Fatal(err)
			}
			got, err := s.Get("a@b")
			if err != nil || got.ID != "a@b" || got.Status() != entry.Stopped {
				t.Fatalf("Get: %+v, %v, want a stopped container", got, err)
			}
			again, err := s.claim(Record{ID: "a@b"})
			if err != nil {
				t.Fatalf("claim: %v", err)
			}
			again.entry.Unlock()
			if err := again.Delete(false); err != nil {
				t.Fatal(err)
			}
			assertNames(t, s)
		})
	}
}
