package storage

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/pace"
)

// Importers that are killed at any time leave whole images or none. What else they leave does not
// disturb the next importer, which removes it.
func TestKilledImporters(t *testing.T) {
	p := place(t)
	s := open(t, p)
	rounds := 20
	began := time.Now()
	if err := run(t, p.Path); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	published, interrupted := 0, 0
	for round := range rounds {
		if err := s.Remove(sample(50).Digest); err != nil && !errors.Is(err, image.ErrNotFound) {
			t.Fatal(err)
		}
		cmd := start(t, p.Path)
		pace.Pause(whole * time.Duration(round) / time.Duration(rounds))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if len(left(t, s)) > 0 {
			interrupted++
		}
		records, reasons, err := s.List()
		if err != nil || len(reasons) > 0 {
			t.Fatal(err, reasons)
		}
		for _, r := range records {
			published++
			i, err := s.Store.Open(r.Digest, r.Format)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(Verify(i), i.Close()); err != nil {
				t.Error(err)
			}
		}
		if round%5 == 4 {
			if err := run(t, p.Path); err != nil {
				t.Fatal(err)
			}
			if names := left(t, s); len(names) > 0 {
				t.Errorf("round %d: left after the next import: %v", round, names)
			}
		}
	}
	if published == 0 || interrupted == 0 {
		t.Errorf("%d rounds: %d images published before the kill, %d interrupted: the test checks nothing", rounds, published, interrupted)
	}
}

func start(t *testing.T, store string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), importerVar+"="+store)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func run(t *testing.T, store string) error {
	t.Helper()
	return start(t, store).Wait()
}

// Of many importers one does the work, and all get the image.
func TestConcurrentImporters(t *testing.T) {
	p := place(t)
	for _, format := range formats() {
		src := sample(20)
		var opened atomic.Int32
		real := src.Layers[1].Open
		src.Layers[1].Open = func(ctx context.Context) (io.ReadCloser, error) {
			opened.Add(1)
			return real(ctx)
		}
		var all sync.WaitGroup
		for range 8 {
			s := open(t, p)
			s.renewal = 10 * time.Millisecond // how often they look
			all.Go(func() {
				i, err := s.Import(t.Context(), src, Options{Format: format, Limits: layers.DefaultLimits()})
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(Verify(i), i.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if opened.Load() != 1 {
			t.Errorf("%s: the layer was opened %d times", format, opened.Load())
		}
	}
}

// Two importers at once both succeed even without a lease.
func TestPublishTwice(t *testing.T) {
	s := open(t, place(t))
	src := sample(5)
	hex, _ := src.Digest.Hex()
	for _, format := range formats() {
		entry := hex + "." + string(format)
		for range 2 {
			l, _, err := s.take(entry, "")
			if err != nil {
				t.Fatal(err)
			}
			err = s.makeAndPublish(t.Context(), src, Options{Format: format, Limits: layers.DefaultLimits()}, entry, l)
			if err := errors.Join(err, l.release()); err != nil {
				t.Fatal(err)
			}
		}
		// An invalid image is replaced.
		if err := os.WriteFile(filepath.Join(s.Path, image.ImagesDir, entry, image.RecordFile), []byte("{"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Verify(bring(t, s, src, format)); err != nil {
			t.Error(err)
		}
	}
	if names := left(t, s); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}
