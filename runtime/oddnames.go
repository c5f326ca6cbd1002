package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/opencontainers/runc/libcontainer"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/runtime/inplace"
)

// libcontainer passes the first process its configuration as JSON, which would garble what
// is not UTF-8. So the application's arguments, variables and directory are passed encoded
// (bundle.EncodeBytes), and libcontainer executes this program in the container once more,
// with the rights and limits of the application. It decodes them and executes the
// application.
const (
	ownProgram = "/proc/self/exe"
	oddWords   = "ocishim-bytes"
)

// ErrNotUTF8 means that libcontainer cannot represent a name.
var ErrNotUTF8 = errors.New("not UTF-8: libcontainer takes no other names")

// oddProcess reports whether an argument, variable or directory is not UTF-8.
func oddProcess(args, env []string, cwd string) bool {
	odd := func(s string) bool { return !utf8.ValidString(s) }
	return odd(cwd) || slices.ContainsFunc(args, odd) || slices.ContainsFunc(env, odd)
}

// asText changes such a process into one that executes this program with everything encoded.
func asText(p *libcontainer.Process) {
	if !oddProcess(p.Args, p.Env, p.Cwd) {
		return
	}
	args := []string{ownProgram, oddWords, bundle.EncodeBytes(p.Cwd)}
	for _, arg := range p.Args {
		args = append(args, bundle.EncodeBytes(arg))
	}
	env := make([]string, len(p.Env))
	for i, entry := range p.Env {
		env[i] = bundle.EncodeBytes(entry)
	}
	p.Args, p.Env = args, env
	if !utf8.ValidString(p.Cwd) {
		p.Cwd = "/"
	}
}

// becomeOdd decodes and executes the application, in a process that was made by asText. It
// returns in any other process.
func becomeOdd() {
	if len(os.Args) < 4 || os.Args[0] != ownProgram || os.Args[1] != oddWords {
		return
	}
	words := make([]string, 0, len(os.Args))
	for _, arg := range os.Args[2:] {
		words = append(words, bundle.DecodeBytes(arg))
	}
	env := os.Environ()
	for i, entry := range env {
		env[i] = bundle.DecodeBytes(entry)
	}
	inplace.BecomeCommand(words[1:], env, words[0])
}

// aliasesDir is the directory of an entry with links to files whose names are not UTF-8.
const aliasesDir = "aliases"

// nameable replaces sources of binds that are not UTF-8 by links to them, which it makes in
// the entry. It refuses any other name that is not UTF-8.
func nameable(b *bundle.Bundle, entry string) (bundle.Edit, error) {
	e := bundle.Edit{From: "names", Rule: "libcontainer takes only names in UTF-8"}
	for i, m := range b.Spec.Mounts {
		switch {
		case !utf8.ValidString(m.Destination):
			return e, fmt.Errorf("mount at %q: %w", m.Destination, ErrNotUTF8)
		case utf8.ValidString(m.Source):
		case !bundle.IsBind(m):
			return e, fmt.Errorf("mount at %q: source %q: %w", m.Destination, m.Source, ErrNotUTF8)
		default:
			alias, err := makeAlias(entry, i, m.Source)
			if err != nil {
				return e, fmt.Errorf("mount at %q: name its source: %w", m.Destination, err)
			}
			m.Source = alias
			e.MountsAt = append(e.MountsAt, inPlaceOf(i, m))
		}
	}
	if !utf8.ValidString(b.Rootfs) {
		return e, fmt.Errorf("root %q: %w", b.Rootfs, ErrNotUTF8)
	}
	if !b.Foreign {
		return e, nil
	}
	rest := *b.Spec
	rest.Mounts = e.MergeMounts(slices.Clone(rest.Mounts))
	rest.Process, rest.Annotations, rest.Root = nil, nil, nil // these are passed in another way
	if odd, found := bundle.FindOdd(&rest); found {
		return e, fmt.Errorf("config.json: %q: %w", odd, ErrNotUTF8)
	}
	return e, nil
}

func makeAlias(entry string, i int, source string) (string, error) {
	alias := filepath.Join(entry, scaffoldDir, aliasesDir, strconv.Itoa(i))
	if !utf8.ValidString(alias) {
		return "", fmt.Errorf("state directory %q: %w", entry, ErrNotUTF8)
	}
	if err := os.MkdirAll(filepath.Dir(alias), 0o755); err != nil {
		return "", err
	}
	return alias, os.Symlink(source, alias)
}
