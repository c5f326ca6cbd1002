package mpi

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/cache"
	"github.com/ocishim/ocishim/internal/pace"
	"github.com/ocishim/ocishim/internal/scene"
)

// A decision is used again as long as all files are unchanged, and its messages are the
// same.
func TestRecall(t *testing.T) {
	for name, change := range map[string]func(*machine){
		"nothing": func(*machine) {},
		"the image's MPI": func(m *machine) {
			m.library(m.image+debianLib, "libmpi.so.12.1.0", mpich+" int another;")
		},
		"a link": func(m *machine) {
			m.check(os.Remove(m.image + debianLib + "/libmpi.so.12"))
			m.check(os.Symlink("libmpi.so.12.1.0", m.image+debianLib+"/libmpi.so.12"))
		},
		"the program":      func(m *machine) { m.gcc(m.image+"/bin/program", "int main(void) { return 0; }") },
		"a library before": func(m *machine) { m.library(m.image+"/usr/lib64", "libmpi.so.12.0.0", mpich) },
		"the site's MPI":   func(m *machine) { m.siteMPI("libmpi.so.12.5.0", mpich) },
		"the profile":      func(m *machine) { m.request.Profiles[0].ABI = ABIFull },
		"the search path":  func(m *machine) { m.request.Env = append(m.request.Env, "LD_LIBRARY_PATH=/opt") },
		"what was kept": func(m *machine) {
			for _, file := range m.kept() {
				data, err := os.ReadFile(file)
				m.check(err)
				m.check(os.WriteFile(file, data[:len(data)/2], 0o600))
			}
		},
		"who may write it": func(m *machine) {
			for _, file := range m.kept() {
				m.check(os.Chmod(file, 0o666))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.imageMPI("libmpi.so.12.1.0", mpich)
			m.siteMPI("libmpi.so.12.4.1", mpich)
			m.request.CacheDir = t.TempDir() + "/memory"
			before := fmt.Sprintf("%q", m.request.Profiles)
			m.plan()
			if now := fmt.Sprintf("%q", m.request.Profiles); now != before {
				t.Errorf("the profiles %s became %s", before, now)
			}
			if !m.recalls() {
				t.Fatal("it is found out again though nothing has changed")
			}
			tick(t)
			change(m)
			recalled := m.recalls()
			if recalled != (name == "nothing") {
				t.Errorf("recalled: %v", recalled)
			}
			warm := m.plan()
			m.request.CacheDir = ""
			if cold := m.plan(); warm != cold {
				t.Errorf("with what was kept:\n%s\nwithout:\n%s", warm, cold)
			}
		})
	}
}

func (m *machine) recalls() bool {
	p := &plan{Request: m.request, env: newEnvironment(m.request.Env)}
	return p.recall()
}

func (m *machine) kept() []string {
	m.t.Helper()
	files, err := filepath.Glob(m.request.CacheDir + "/" + memoryPrefix + "*")
	m.check(err)
	if len(files) == 0 {
		m.t.Fatal("nothing is kept")
	}
	return files
}

// Of tasks that begin at the same time one finds out, and the others wait for its
// result.
func TestFindOutOnce(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.request.CacheDir = t.TempDir()
	m.plan()
	memory := m.kept()[0]
	m.check(os.Rename(memory, memory+".away"))

	first := cache.Alone(m.request.CacheDir, memoryLock)
	others := make(chan scene.Proposal)
	const waiting = 2 // no longer than the limit on waiting
	for range waiting {
		go func() {
			r, err := Edits(m.request)
			if err != nil {
				t.Error(err)
			}
			others <- r
		}()
	}
	lock := filepath.Join(m.request.CacheDir, memoryLock)
	if !pace.Until(10*time.Second, func() bool { return opened(lock) > waiting }) {
		t.Errorf("%d others wait", opened(lock)-1)
	}
	// The result of the first differs from what they would find.
	data, err := os.ReadFile(memory + ".away")
	m.check(err)
	m.check(os.WriteFile(memory, bytes.ReplaceAll(data, []byte("for the image's"), []byte("FOR THE IMAGE'S")), 0o600))
	first()
	for range waiting {
		if r := <-others; !strings.Contains(r.Edits[0].Rule, "FOR THE IMAGE'S") {
			t.Errorf("found out again: %s", r.Edits[0].Rule)
		}
	}
}

// A required device is looked up each time.
func TestRecallRequired(t *testing.T) {
	m := newMachine(t)
	m.imageMPI("libmpi.so.12.1.0", mpich)
	m.siteMPI("libmpi.so.12.4.1", mpich)
	m.request.CacheDir = t.TempDir()
	m.request.Profiles[0].Require = []string{"knem"}
	m.write(m.node+"/dev/knem", "c 10 55 666 0 usable")
	m.plan()
	if !m.recalls() {
		t.Error("not recalled")
	}
	m.write(m.node+"/dev/knem", "c 10 55 666 0 EPERM")
	m.refuses("cannot be used: operation not permitted")
}

// Reading a kept decision ends, whatever the file contains.
func FuzzRecall(f *testing.F) {
	w := new(writer)
	w.text(memoryFormat, "a", "b")
	w.list([]string{"x"})
	f.Add(w.Bytes())
	f.Fuzz(func(_ *testing.T, data []byte) {
		r := reader{rest: string(data)}
		r.text()
		r.list()
		for range r.count() {
			r.edit()
			if r.bad {
				break
			}
		}
	})
}

// tick waits until a later change gets a later time than an earlier one: the clock of a
// file system has ticks.
func tick(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clock")
	touched := func() time.Time {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	before := touched()
	if !pace.Until(10*time.Second, func() bool { return touched().After(before) }) {
		t.Fatal("the clock stands still")
	}
}

// opened counts the descriptors of this process that refer to the file.
func opened(file string) int {
	n := 0
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == file {
			n++
		}
	}
	return n
}
