package scrun

import (
	"bytes"
	"io"
	"os"
	"strings"
)

// ofSlurmd begins the lines that slurmstepd inserts in the container's stderr: that a step
// was cancelled, at each SIGTERM, or ran out of memory. In Slurm 26.05 they begin with the
// time.
var ofSlurmd, ofTime = []byte("slurmstepd-"), []byte("[0000-00-00T00:00:00")

// afterTime follows the time, which may end with a fraction and a zone (LogTimeFormat).
var afterTime = []byte("] error: ")

// mostHeld is how many bytes of a line are held back at most, until it is known whose it is.
const mostHeld = 1024

// relay passes on the container's stderr, except for slurmstepd's lines, which go to the log.
// Whatever cannot be the beginning of such a line is passed on at once.
type relay struct {
	to   io.Writer
	log  func(line string)
	held []byte // the beginning of a line that may be slurmstepd's
	mid  bool   // in the middle of another line
}

func (r *relay) run(from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if werr := r.take(buffer[:n]); werr != nil || err != nil {
			break
		}
	}
	_, _ = r.to.Write(r.held)
}

func (r *relay) take(data []byte) error {
	for len(data) > 0 {
		if r.mid && len(r.held) == 0 {
			at := lastPossible(data)
			if _, err := r.to.Write(data[:at]); err != nil {
				return err
			}
			r.mid = at == 0 || data[at-1] != '\n'
			data = data[at:]
			if r.mid {
				continue // all is written
			}
		}
		rest, err := r.hold(data)
		if err != nil {
			return err
		}
		data = rest
	}
	return nil
}

// lastPossible returns the length of the data before the first line, complete or not, that
// may be slurmstepd's.
func lastPossible(data []byte) int {
	for at := 0; ; {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return len(data)
		}
		at += end + 1
		if maySlurmds(data[at:]) {
			return at
		}
	}
}

// maySlurmds reports whether the beginning of a line may be of a line of slurmstepd's.
func maySlurmds(line []byte) bool { return isPrefixEither(line, ofSlurmd) || mayBeginWithTime(line) }

func mayBeginWithTime(line []byte) bool {
	for i, want := range ofTime[:min(len(line), len(ofTime))] {
		if digit := line[i] >= '0' && line[i] <= '9'; want == '0' && !digit || want != '0' && line[i] != want {
			return false
		}
	}
	if len(line) <= len(ofTime) {
		return true
	}
	return isPrefixEither(bytes.TrimLeft(line[len(ofTime):], "0123456789.:+-Z"), afterTime)
}

// isSlurmds reports whether a complete line is slurmstepd's, and for the log.
func isSlurmds(line []byte) bool {
	_, text, found := bytes.Cut(line, []byte("error: "))
	return found && maySlurmds(line) && (bytes.HasPrefix(text, []byte("*** ")) || bytes.HasPrefix(text, []byte("Detected ")))
}

// isPrefixEither reports whether one of them is a prefix of the other.
func isPrefixEither(a, b []byte) bool {
	n := min(len(a), len(b))
	return bytes.Equal(a[:n], b[:n])
}

// hold holds back the beginning of a line until it is known whose it is. It returns the data
// after it.
func (r *relay) hold(data []byte) ([]byte, error) {
	end := bytes.IndexByte(data, '\n')
	part := data
	if end >= 0 {
		part = data[:end+1]
	}
	r.held = append(r.held, part...)
	data = data[len(part):]
	if maySlurmds(r.held) && end < 0 && len(r.held) < mostHeld {
		return data, nil
	}
	line := r.held
	r.held = nil
	r.mid = end < 0
	if isSlurmds(line) {
		r.log(strings.TrimSpace(string(line)))
		return data, nil
	}
	_, err := r.to.Write(line)
	return data, err
}

// startRelay relays a pipe to our stderr, and returns the end of the pipe for srun.
func (a *anchor) startRelay() (*os.File, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	a.relayed = make(chan struct{})
	r := relay{to: os.Stderr, mid: false, log: func(line string) { a.do(func() { a.log("warning", line) }) }}
	go func() {
		r.run(from)
		from.Close()
		close(a.relayed)
	}()
	return to, nil
}
