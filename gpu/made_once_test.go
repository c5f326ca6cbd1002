package gpu_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// madeOnce holds what many machines need the same of. Each machine gets a copy.
var madeOnce madeFiles

type madeFiles struct {
	dir string

	sync.Mutex
	made map[string]string // by how it is made
}

// runWithMade runs the tests with a directory for madeOnce.
func runWithMade(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "ocishim-gpu")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	madeOnce.dir, madeOnce.made = dir, map[string]string{}
	return m.Run(), nil
}

// bundle returns the bundle that hack/bundle makes.
func (m *madeFiles) bundle(t *testing.T) string {
	t.Helper()
	return m.once(t, "bundle", func(path string) { run(t, "../hack/bundle", path) })
}

// compiled returns what the compiler makes of the source.
func (m *madeFiles) compiled(t *testing.T, compiler, source string, args ...string) string {
	t.Helper()
	return m.once(t, strings.Join(append([]string{compiler, source}, args...), "\x00"), func(path string) {
		run(t, compiler, append([]string{"-o", path, filepath.Join("testdata", source)}, args...)...)
	})
}

// once returns the path of what make makes, which it calls only if nothing is known by the key.
func (m *madeFiles) once(t *testing.T, key string, make func(path string)) string {
	t.Helper()
	m.Lock()
	defer m.Unlock()
	path, found := m.made[key]
	if !found {
		path = filepath.Join(m.dir, fmt.Sprint(len(m.made)))
		make(path)
		m.made[key] = path
	}
	return path
}
