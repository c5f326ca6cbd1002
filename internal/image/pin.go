package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/text"
)

// PinsDir is the directory that holds what names mean for jobs: pins/JOB/NAME is a Ref. If a
// tag moves while a job runs, only later jobs get the new image.
const PinsDir = "pins"

// JobOf returns the name of the job that an environment belongs to, for Pin; it is empty outside
// of jobs.
func JobOf(env []string) string {
	id, _ := bundle.Getenv(env, "SLURM_JOB_ID")
	if id == "" {
		return ""
	}
	cluster, _ := bundle.Getenv(env, "SLURM_CLUSTER_NAME")
	return cluster + "." + id
}

// Pinned returns what a name means for a job. The error is os.ErrNotExist if no step of the
// job has used the name yet.
func (s *Store) Pinned(job, name string) (Ref, error) {
	dir, err := s.within(PinsDir + "/" + RefFile(job))
	if err != nil {
		return Ref{}, fmt.Errorf("look up %s of job %s: %w", text.Printable(name), text.Printable(job), err)
	}
	defer dir.Close()
	ref, err := s.readRef(dir, RefFile(name), name)
	if err != nil {
		return Ref{}, fmt.Errorf("look up %s of job %s: %w", text.Printable(name), text.Printable(job), err)
	}
	return ref, nil
}

// Pin records what a name means for a job, and returns the recorded meaning: if several hosts
// pin at once, one wins and all get its Ref. It needs no locks, not even on NFS: link(2) does
// not replace an existing file.
func (s *Store) Pin(job string, ref Ref) (Ref, error) {
	pinned, err := s.pin(job, ref)
	if err != nil {
		return Ref{}, fmt.Errorf("pin %s to job %s: %w", text.Printable(ref.Name), text.Printable(job), err)
	}
	return pinned, nil
}

func (s *Store) pin(job string, ref Ref) (Ref, error) {
	data, err := json.Marshal(ref)
	if err != nil {
		return Ref{}, err
	}
	store, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(int(s.dir.Fd())))
	if err != nil {
		return Ref{}, err
	}
	defer func() { _ = store.Close() }()
	dir := PinsDir + "/" + RefFile(job)
	if err := store.MkdirAll(dir, 0o755); err != nil {
		return Ref{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		return Ref{}, err
	}
	file := dir + "/" + RefFile(ref.Name)
	half := fmt.Sprintf("%s/.%s.%d", dir, RefFile(host), os.Getpid())
	if err := store.WriteFile(half, data, 0o644); err != nil {
		return Ref{}, err
	}
	err = store.Link(half, file)
	if rerr := store.Remove(half); err == nil {
		err = rerr
	}
	if err == nil {
		return ref, nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return Ref{}, err
	}
	return s.Pinned(job, ref.Name)
}
