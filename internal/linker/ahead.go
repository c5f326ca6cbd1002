package linker

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ocishim/ocishim/internal/host"
)

// An ahead reads libraries of a directory of which all will be asked for, such as Open
// MPI's hundred plugins: other processors do it while this one is busy with what comes
// before, and it helps them when it has come there.
type ahead struct {
	dir      *host.Directory
	names    []string
	readings []reading // by the same index
	next     atomic.Int32
	others   sync.WaitGroup
}

// A reading is what came of it.
type reading struct {
	found host.Found
	err   error
}

// mostReaders bounds how many processors are at it; few files are done sooner by one.
const mostReaders, fewFiles = 4, 24

// ReadAhead begins to read libraries of a directory of which all will be asked for.
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

// read takes one after the other, while there are any.
func (a *ahead) read() {
	for i := int(a.next.Add(1)) - 1; i < len(a.names); i = int(a.next.Add(1)) - 1 {
		a.readings[i].found, a.readings[i].err = a.dir.FindLibrary(a.names[i])
	}
}

// finish adds what was read, when all is.
func (a *ahead) finish(read map[string]*reading) {
	a.read()
	a.others.Wait()
	for i, name := range a.names {
		read[name] = &a.readings[i]
	}
}

// stop leaves the rest.
func (a *ahead) stop() {
	a.next.Store(int32(len(a.names)))
	a.others.Wait()
}
