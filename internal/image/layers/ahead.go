package layers

import (
	"io"
	"sync"
)

// An ahead reads in advance, so that a layer is decompressed and hashed while the data before is
// being written: the two take about the same time.
type ahead struct {
	from   io.Reader
	full   chan piece
	free   chan []byte
	stop   chan struct{}
	ended  sync.WaitGroup
	now    piece
	unread []byte
}

type piece struct {
	data []byte
	err  error // the error that follows the data
}

const (
	pieces    = 8
	pieceSize = 1 << 18
)

func newAhead(from io.Reader) *ahead {
	a := &ahead{from: from, full: make(chan piece, pieces), free: make(chan []byte, pieces), stop: make(chan struct{})}
	for range pieces {
		a.free <- nil // allocated on first use: most layers are small
	}
	a.ended.Go(a.run)
	return a
}

func (a *ahead) run() {
	defer close(a.full)
	for {
		select {
		case <-a.stop:
			return
		case buf := <-a.free:
			if buf == nil {
				buf = make([]byte, pieceSize)
			}
			n, err := fill(a.from, buf)
			a.full <- piece{buf[:n], err} // never blocks: the channel has room for all pieces
			if err != nil {
				return
			}
		}
	}
}

// fill is like io.ReadFull, but returns the reader's own error: a truncated archive ends with
// io.ErrUnexpectedEOF, a complete one with io.EOF.
func fill(from io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var read int
		read, err = from.Read(buf[n:])
		n += read
	}
	return n, err
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.unread) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.data != nil {
			a.free <- a.now.data[:cap(a.now.data)]
		}
		next, ok := <-a.full
		if !ok {
			return 0, io.ErrClosedPipe
		}
		a.now, a.unread = next, next.data
	}
	n := copy(p, a.unread)
	a.unread = a.unread[n:]
	return n, nil
}

// end stops reading, and waits for that.
func (a *ahead) end() {
	select {
	case <-a.stop:
	default:
		close(a.stop)
	}
	a.ended.Wait()
}
