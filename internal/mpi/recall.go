package mpi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/cache"
	"github.com/ocishim/ocishim/internal/scene"
)

// A decision for one task of a program holds for the next until a file changes, so it
// is kept with all that it depends on. A task that finds it compares the identities of
// those files, and reads none of them.

const (
	memoryFormat = "ocishim mpi 4" // changes with the format and with the rules
	memoryPrefix = "mpi-"
	memoryLock   = "mpi.lock"
	mostMemory   = 4 << 20 // bytes of one kept decision
	mostMemories = 64
)

// memoryName returns the name of the file for a request: a hash of all inputs of Edits
// that are not in files. The arguments count only for a command that is followed.
func (p *plan) memoryName(args []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00%q\x00", memoryFormat, p.Image.HostPath("/"), p.Arch, p.Cwd,
		[]string{p.Program, p.env["PATH"], p.env["LD_LIBRARY_PATH"], p.env["LD_PRELOAD"]})
	fmt.Fprintf(h, "%d%q\x00", len(args), args)
	for _, m := range p.Mounts {
		fmt.Fprintf(h, "%s\x00%s\x00%t\x00", m.Source, m.Destination, bundle.IsBind(m))
	}
	for _, l := range p.Links {
		fmt.Fprintf(h, "%s\x00%s\x00", l.Path, l.Target)
	}
	for _, profile := range p.Profiles {
		fmt.Fprintf(h, "%q\x00", profile)
	}
	fmt.Fprintf(h, "%q\x00", p.programs)
	h.Write(p.LoaderCache)
	return memoryPrefix + hex.EncodeToString(h.Sum(nil)[:16])
}

// recall takes over a kept decision that still holds: one for the program, or one for
// the whole command. Damaged data counts as no decision.
func (p *plan) recall() bool {
	return p.CacheDir != "" && (p.recallFrom(p.memoryName(nil)) || len(p.Args) > 0 && p.recallFrom(p.memoryName(p.Args)))
}

func (p *plan) recallFrom(name string) bool {
	data, err := cache.Read(p.CacheDir, name, mostMemory)
	if err != nil {
		return false
	}
	r := reader{rest: string(data)}
	if r.text() != memoryFormat {
		return false
	}
	for variables := r.list(); len(variables) > 1; variables = variables[2:] {
		if p.env[variables[0]] != variables[1] {
			return false
		}
	}
	var look lookout
	defer look.close()
	node, image := strings.TrimSuffix(p.Host.HostPath("/"), "/"), p.Image.HostPath("/")
	for range r.count() {
		w, tree := witness{r.text(), r.text(), r.text()}, p.Image
		if w.root != image {
			tree = p.Host
			below, ok := strings.CutPrefix(w.root, node)
			if !ok {
				return false
			}
			w.path = strings.TrimSuffix(below, "/") + w.path
		}
		if !w.holds(tree, &look) {
			return false
		}
	}
	needs := r.list()
	result := scene.Proposal{}
	said := Library{Family: Family(r.text()), Path: r.text(), Version: r.text()}
	said.PMI = PMI{PMIx: r.text() != "", Version: r.text(), Socket: r.text() != "", By: r.text()}
	result.Warnings = r.list()
	ofStep := r.list()
	for range r.count() {
		result.Edits = append(result.Edits, r.edit())
	}
	for _, pattern := range needs {
		if _, lacks := devicesOf(p.Host, pattern); lacks != "" {
			return false
		}
	}
	if r.bad {
		return false
	}
	p.Proposal, p.speaks, p.ofStep = result, said, ofStep
	return true
}

// keep writes the decision by rename. A failure is ignored: the next call only takes
// longer.
func (p *plan) keep() {
	if p.CacheDir == "" {
		return
	}
	w := new(writer)
	w.text(memoryFormat)
	w.list(p.seen.variables)
	w.count(len(p.seen.list))
	for _, s := range p.seen.list {
		w.text(s.root, s.path, s.was)
	}
	w.list(p.needs)
	l := p.speaks
	w.text(string(l.Family), l.Path, l.Version, yes(l.PMI.PMIx), l.PMI.Version, yes(l.PMI.Socket), l.PMI.By)
	w.list(p.Warnings)
	w.list(p.ofStep)
	w.count(len(p.Edits))
	for _, e := range p.Edits {
		w.edit(e)
	}
	if w.bad || w.Len() > mostMemory {
		return
	}
	p.forget()
	var args []string
	if p.wrapping {
		args = p.Args
	}
	_ = cache.Write(p.CacheDir, p.memoryName(args), w.Bytes())
}

// forget makes room: what is in use is soon written again.
func (p *plan) forget() {
	names, err := filepath.Glob(filepath.Join(p.CacheDir, memoryPrefix+"*"))
	if err != nil || len(names) < mostMemories {
		return
	}
	for _, name := range names {
		_ = os.Remove(name)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// A writer appends strings, each with its length before it.
type writer struct {
	bytes.Buffer
	bad bool // it contains something that cannot be kept
}

func (w *writer) count(n int) { w.WriteString(strconv.Itoa(n) + "\n") }

func (w *writer) text(texts ...string) {
	for _, s := range texts {
		w.count(len(s))
		w.WriteString(s)
	}
}

func (w *writer) list(texts []string) {
	w.count(len(texts))
	w.text(texts...)
}

// edit writes the contents of our edits; devices are looked up again each time.
func (w *writer) edit(e bundle.Edit) {
	w.bad = w.bad || len(e.Devices) > 0
	w.text(e.From, e.Rule)
	w.list(e.Env)
	w.list(e.EnvPrepend)
	w.count(len(e.Mounts))
	for _, m := range e.Mounts {
		w.text(m.Source, m.Destination)
	}
	w.count(len(e.Links))
	for _, l := range e.Links {
		w.text(l.Path, l.Target)
	}
	w.count(len(e.Files))
	for _, f := range e.Files {
		w.text(f.Path, string(f.Data))
	}
}

// A reader reads what a writer wrote.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) count() int {
	line, _, ok := strings.Cut(r.rest[:min(len(r.rest), 16)], "\n")
	n, err := strconv.Atoi(line)
	if !ok || err != nil || n < 0 || n > len(r.rest) {
		r.bad, r.rest = true, ""
		return 0
	}
	r.rest = r.rest[len(line)+1:]
	return n
}

func (r *reader) text() string {
	n := r.count()
	if n > len(r.rest) {
		r.bad, r.rest = true, ""
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) list() (texts []string) {
	for range r.count() {
		texts = append(texts, r.text())
	}
	return texts
}

func (r *reader) edit() bundle.Edit {
	e := bundle.Edit{From: r.text(), Rule: r.text(), Env: r.list(), EnvPrepend: r.list()}
	for range r.count() {
		e.Mounts = append(e.Mounts, BindOf(r.text(), r.text()))
	}
	for range r.count() {
		e.Links = append(e.Links, bundle.Link{Path: r.text(), Target: r.text()})
	}
	for range r.count() {
		e.Files = append(e.Files, bundle.File{Path: r.text(), Data: []byte(r.text())})
	}
	return e
}
