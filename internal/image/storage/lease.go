package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/process"
)

// A Holder says which process is importing an image, as JSON in the lease's file.
type Holder struct {
	Host     string     `json:"host"`
	Boot     string     `json:"boot"`
	Process  process.ID `json:"process"`
	Pids     uint64     `json:"pids"` // the pid namespace, process.Numbering
	Job      string     `json:"job,omitempty"`
	Progress string     `json:"progress,omitempty"` // for people
}

// A lease keeps others from doing the same work: they wait for its holder. It is a file that the
// holder creates with O_EXCL, which works on every shared file system, and rewrites every ten
// seconds. If two processes hold it for a moment after a takeover, that only wastes work.
type lease struct {
	store *Store
	path  string
	file  *os.File

	mu     sync.Mutex
	holder Holder
	stop   chan struct{}
	ended  sync.WaitGroup
}

// take takes the lease of an image's entry. If another process holds the lease, take returns nil
// and the holder.
func (s *Store) take(entry, job string) (*lease, Holder, error) {
	return s.takeSeen(entry, job, new(sighting))
}

// A sighting is when a process that waits has seen a lease renewed last. While that was recently,
// it need not ask the file server for the time.
type sighting struct {
	renewed time.Time // by the file server's clock
	at      time.Time // by ours
}

// fresh reports whether the lease was renewed since the last look, or not long ago.
func (g *sighting) fresh(renewed time.Time, age time.Duration) bool {
	if g.at.IsZero() {
		return false
	}
	if !renewed.Equal(g.renewed) {
		g.renewed, g.at = renewed, time.Now()
	}
	return time.Since(g.at) < age
}

func (s *Store) takeSeen(entry, job string, seen *sighting) (*lease, Holder, error) {
	path := filepath.Join(image.LeasesDir, entry)
	for range 8 {
		f, err := s.root.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err == nil {
			l := &lease{store: s, path: path, file: f, stop: make(chan struct{})}
			l.holder = Holder{Host: s.host, Boot: process.BootID(), Process: s.self, Pids: process.Numbering(), Job: job}
			if err := l.renew(); err != nil {
				return nil, Holder{}, errors.Join(fmt.Errorf("take lease: %w", err), l.release())
			}
			l.ended.Go(l.keep)
			return l, l.holder, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return nil, Holder{}, fmt.Errorf("take lease: %w", err)
		}
		holder, held, err := s.held(path, seen)
		if err != nil {
			return nil, Holder{}, fmt.Errorf("take lease: %w", err)
		}
		if held {
			return nil, holder, nil
		}
	}
	return nil, Holder{}, nil // others keep being faster: the caller tries again later
}

// held reports who holds a lease, and whether the holder is alive. It removes the lease of a holder
// that is not.
func (s *Store) held(path string, seen *sighting) (holder Holder, held bool, err error) {
	f, err := s.root.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESTALE) {
		return holder, false, nil
	}
	if err != nil {
		return holder, false, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if err != nil && !errors.Is(err, unix.ESTALE) {
		return holder, false, err
	}
	_ = json.Unmarshal(data, &holder) // if it is half written, only its time counts
	info, err := f.Stat()
	if err != nil {
		return holder, false, nil
	}
	dead := holder.Host == s.host && (holder.Boot != process.BootID() || holder.Pids == process.Numbering() && !holder.Process.Alive())
	if !dead && seen.fresh(info.ModTime(), s.leaseAge) {
		return holder, true, nil
	}
	if !dead {
		now, err := s.serverTime()
		if err != nil {
			return holder, false, err
		}
		if age := now.Sub(info.ModTime()); age <= s.leaseAge {
			seen.renewed, seen.at = info.ModTime(), time.Now().Add(-max(age, 0))
			return holder, true, nil
		}
	}
	return holder, false, s.revoke(path, info)
}

// revoke removes the lease that was checked. If another process has replaced it meanwhile, revoke
// puts the new lease back.
func (s *Store) revoke(path string, judged os.FileInfo) error {
	aside := filepath.Join(image.LeasesDir, ".new."+s.name())
	if err := s.root.Rename(path, aside); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	if moved, err := s.root.Lstat(aside); err == nil && !os.SameFile(moved, judged) {
		_ = s.root.Link(aside, path)
	}
	return s.root.Remove(aside)
}

// serverTime returns the time of the file server's clock, since the clocks of hosts differ.
func (s *Store) serverTime() (time.Time, error) {
	path := filepath.Join(image.LeasesDir, ".new."+s.name())
	f, err := s.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = s.root.Remove(path) }()
	defer f.Close()
	if _, err := f.Write([]byte("x")); err != nil {
		return time.Time{}, err
	}
	if err := f.Sync(); err != nil {
		return time.Time{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// say sets the progress that waiting processes see from the next renewal on.
func (l *lease) say(progress string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder.Progress = progress
}

func (l *lease) renew() error {
	l.mu.Lock()
	data, err := json.Marshal(l.holder)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err := l.file.WriteAt(append(data, '\n'), 0); err != nil {
		return err
	}
	// If the client held the write back, the file's time would not change on the server.
	return errors.Join(l.file.Truncate(int64(len(data))+1), l.file.Sync())
}

func (l *lease) keep() {
	tick := time.NewTicker(l.store.renewal)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			_ = l.renew() // a lost lease only means that others do the same work
		}
	}
}

// release ends the lease, and removes its file unless another process has taken over.
func (l *lease) release() error {
	select {
	case <-l.stop:
		return nil
	default:
	}
	close(l.stop)
	l.ended.Wait()
	defer l.file.Close()
	ours, err := l.file.Stat()
	if err != nil {
		return nil // ESTALE: another process has taken over
	}
	if there, err := l.store.root.Lstat(l.path); err != nil || !os.SameFile(ours, there) {
		return nil
	}
	if err := l.store.root.Remove(l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("release lease: %w", err)
	}
	return nil
}

// wait waits until it has the lease, or until done reports that the image exists; then it returns
// nil. While another process holds the lease, it calls waiting every second.
func (s *Store) wait(ctx context.Context, entry, job string, waiting func(Holder), done func() bool) (*lease, error) {
	tick := time.NewTicker(min(time.Second, s.renewal))
	defer tick.Stop()
	seen := new(sighting)
	for {
		if done() {
			return nil, nil
		}
		l, holder, err := s.takeSeen(entry, job, seen)
		if err != nil {
			return nil, err
		}
		if l != nil {
			if done() { // the image was published before we got the lease
				return nil, l.release()
			}
			return l, nil
		}
		if waiting != nil {
			waiting(holder)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}
