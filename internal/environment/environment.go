package environment

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/text"
)

const (
	// maxFile is how large an environment file may be, in bytes.
	maxFile = 1 << 20

	// maxDepth is how many files may be based on each other, as in CSCS's container engine.
	maxDepth = 10

	// maxFiles is how many files may be read in all, since one may be the base of several.
	maxFiles = 100
)

// Mistakes in environment files as a whole.
var (
	ErrNoImage = errors.New("it names no image")
	ErrCycle   = errors.New("it is based on itself")
)

// An Environment is what a file says, with what its bases say below it.
type Environment struct {
	// Files are the paths of all files, in the order in which they count: the last one wins.
	Files []string

	// Image is the name of the image. Pull is empty or says when to ask its registry.
	Image, Pull request.Choice

	// Wishes are what the files say of request.Keys, in the order of Files.
	Wishes []request.Wish

	// Annotations are those of the container, by name.
	Annotations map[string]request.Choice
}

// Load reads an environment, a name or a path, and its bases. An unknown key, a wrong type and a
// value that no request can have are errors with line and column. It does not look at hosts and
// images.
func Load(name string, p Places) (*Environment, error) {
	path, err := p.file(name)
	if err != nil {
		return nil, err
	}
	return LoadFile(path, p)
}

// LoadFile is Load for a path.
func LoadFile(path string, p Places) (*Environment, error) {
	l := loader{places: p, result: &Environment{Annotations: map[string]request.Choice{}}}
	if err := l.load(path, nil); err != nil {
		return nil, err
	}
	if l.result.Image.Value == "" {
		return nil, fmt.Errorf("environment %s: %w: add a line such as image = \"docker://debian:13\"", text.Printable(path), ErrNoImage)
	}
	return l.result, nil
}

// ContainerAnnotations are the annotations of a bundle that stands for the environment: what the
// files say in their table of annotations, and the wishes.
func (e *Environment) ContainerAnnotations() (map[string]string, error) {
	plain := map[string]string{}
	for name, c := range e.Annotations {
		plain[name] = c.Value
	}
	return request.Annotate(plain, e.Wishes)
}

// A loader reads a file and its bases.
type loader struct {
	places Places
	result *Environment
	files  int
}

// load reads a file. above are the files that are based on it, the first one first.
func (l *loader) load(path string, above []string) error {
	chain := append(slices.Clone(above), path)
	l.files++
	switch {
	case slices.Contains(above, path):
		return fmt.Errorf("environment %s: %w: %s", text.Printable(path), ErrCycle, text.Whole(strings.Join(chain, " -> ")))
	case len(chain) > maxDepth:
		return fmt.Errorf("environment %s: more than %d environments are based on each other", text.Printable(above[0]), maxDepth)
	case l.files > maxFiles:
		return fmt.Errorf("environment %s: more than %d files are read for it", text.Printable(chain[0]), maxFiles)
	}
	data, err := readFile(path)
	if err != nil {
		return fmt.Errorf("read environment: %w", err)
	}
	f, err := parse(path, data)
	if err != nil {
		return err
	}
	for _, base := range f.bases {
		if err := l.loadBase(f, base, chain); err != nil {
			return err
		}
	}
	l.result.Files = append(slices.DeleteFunc(l.result.Files, func(other string) bool { return other == path }), path)
	return l.add(f)
}

func (l *loader) loadBase(f *file, base string, chain []string) error {
	name, err := l.expand(base)
	if err != nil {
		return f.mistake("base_environment", err)
	}
	path, err := l.places.file(name)
	if err != nil {
		return f.mistake("base_environment", err)
	}
	return l.load(path, chain)
}

// add puts what a file says over what others have said.
func (l *loader) add(f *file) error {
	for key, to := range map[string]*request.Choice{"image": &l.result.Image, "pull": &l.result.Pull} {
		value, said := f.choices[key]
		if !said {
			continue
		}
		expanded, err := l.expand(value)
		if err != nil {
			return f.mistake(key, err)
		}
		*to = request.Choice{Value: expanded, By: f.by(key)}
	}
	l.result.Wishes = append(l.result.Wishes, f.wishes...)
	for _, name := range slices.Sorted(maps.Keys(f.annotations)) {
		value, err := l.expand(f.annotations[name])
		if err != nil {
			return f.mistake("annotations."+name, err)
		}
		l.result.Annotations[name] = request.Choice{Value: value, By: f.by("annotations." + name)}
	}
	return nil
}

// expand replaces ${NAME} by a variable of whoever reads the file. The image is not known yet, so
// its variables do not count.
func (l *loader) expand(value string) (string, error) {
	return request.Expand(value, func(name string) (string, bool) { return bundle.Getenv(l.places.Env, name) })
}

// readFile reads an environment file, and does not wait for a fifo.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a file", text.Printable(path))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", text.Printable(path), maxFile)
	}
	return data, err
}
