package linker

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ocishim/ocishim/internal/host"
)

// An ahead reads libraries of a directory that will all be needed, such as Open MPI's
// hundred plugins. Other processors read while this one is busy with earlier work; when
// it gets there, it helps them.
type ahead struct {
	dir      *host.Directory
	names    []string
	readings []reading // by the same index
	next     atomic.Int32
	others   sync.WaitGroup
}

// A reading is the result for one file.
type reading struct {
	found host.Found
	err   error
}

// mostReaders bounds how many processors read; below fewFiles one is faster.
const mostReaders, fewFiles = 4, 24

// ReadAhead begins to read libraries of a directory that will all be needed.
func (v *View) ReadAhead(p string, names []string) {
	d := v.Dir(p)
	if d == nil || d.open == nil || d.ahead != nil {
		return
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, found := d.found[name]
		_, read := d.read[name]
		return found || read
	})
	if len(names) > fewFiles {
		d.ahead = readAhead(d.open, names)
	}
}

func readAhead(dir *host.Directory, names []string) *ahead {
	a := &ahead{dir: dir, names: names, readings: make([]reading, len(names))}
	for range min(runtime.GOMAXPROCS(0), mostReaders) - 1 {
		a.others.Go(a.read)
	}
	return a
}

// read reads files until none are left.
func (a *ahead) read() {
	for i := int(a.next.Add(1)) - 1; i < len(a.names); i = int(a.next.Add(1)) - 1 {
		a.readings[i].found, a.readings[i].err = a.dir.FindLibrary(a.names[i])
	}
}

// finish waits for the readers and adds their results.
func (a *ahead) finish(read map[string]*reading) {
	a.read()
	a.others.Wait()
	for i, name := range a.names {
		read[name] = &a.readings[i]
	}
}

// stop skips the rest.
func (a *ahead) stop() {
	a.next.Store(int32(len(a.names)))
	a.others.Wait()
}
