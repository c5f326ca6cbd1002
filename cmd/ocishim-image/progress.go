package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/storage"
	"github.com/ocishim/ocishim/internal/text"
)

// lineEvery is how often a log gets a line: often enough to show that the import continues.
const lineEvery = 30 * time.Second

// A progress shows how far an import is: as a bar on a terminal, otherwise as a line every
// lineEvery.
type progress struct {
	out   io.Writer
	name  string
	total int64

	bars *mpb.Progress
	bar  *mpb.Bar

	mu   sync.Mutex
	done int64
	said time.Time
}

func newProgress(out *os.File, name string, total int64) *progress {
	p := &progress{out: out, name: text.Printable(name), total: total, said: time.Now()}
	if isTerminal(out) {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithAutoRefresh())
		p.bar = p.bars.AddBar(total,
			mpb.PrependDecorators(decor.Name(p.name+" "), decor.CountersKibiByte("% .1f / % .1f")),
			mpb.AppendDecorators(decor.AverageSpeed(decor.SizeB1024(0), "% .1f "), decor.AverageETA(decor.ET_STYLE_GO)),
		)
	}
	return p
}

// read counts bytes of layers that were read.
func (p *progress) read(bytes int) {
	if p.bar != nil {
		p.bar.IncrBy(bytes)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(bytes)
	p.say(fmt.Sprintf("%d of %d MB", p.done>>20, p.total>>20))
}

// waiting shows which other process is importing the image.
func (p *progress) waiting(h storage.Holder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf("waiting for process %d on %s, which is importing it: %s", h.Process.Pid, text.Printable(h.Host), text.Printable(h.Progress))
	if p.bars != nil && time.Since(p.said) >= lineEvery/10 {
		_, _ = fmt.Fprintf(p.bars, "%s: %s\n", p.name, line)
		p.said = time.Now()
		return
	}
	p.say(line)
}

func (p *progress) say(line string) {
	if p.bars == nil && time.Since(p.said) >= lineEvery {
		fmt.Fprintf(p.out, "ocishim-image: %s: %s\n", p.name, line)
		p.said = time.Now()
	}
}

func (p *progress) end() {
	if p.bars == nil {
		return
	}
	p.bar.Abort(true)
	p.bars.Wait()
}

// isTerminal reports whether the file is a terminal that can show a bar.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && os.Getenv("TERM") != "dumb"
}
