package mpi

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// A scanner finds the commands of a script without executing it: it assumes that each
// is executed, whatever the conditions.
type scanner struct {
	*command
	text  string
	at    int
	args  []string // $0 and the arguments
	depth int

	words  []string
	word   strings.Builder
	inWord bool
	skip   bool   // the next word is the target of a redirection
	ends   string // the line that ends a here-document; empty for none
}

// shellText follows a script, with $0 and the arguments after it.
func (c *command) shellText(text string, args []string, depth int) {
	if c.steps--; depth > mostDepth || c.steps < 0 {
		return
	}
	(&scanner{command: c, text: text, args: args, depth: depth}).run()
}

func (s *scanner) run() {
	for s.at < len(s.text) && s.steps > 0 {
		ch := s.text[s.at]
		s.at++
		switch ch {
		case '\\':
			s.escaped()
		case '\'':
			quoted, rest, _ := strings.Cut(s.text[s.at:], "'")
			s.at = len(s.text) - len(rest)
			s.add(quoted)
		case '"':
			s.inQuotes()
		case '$':
			s.dollar(false)
		case '`':
			inner, rest, _ := strings.Cut(s.text[s.at:], "`")
			s.at = len(s.text) - len(rest)
			s.add(s.output(inner))
		case ' ', '\t', '\r':
			s.endWord()
		case '\n', ';', '|', '&', '(', ')':
			s.endCommand()
			if ch == '\n' {
				s.skipInput()
			}
		case '<', '>':
			s.redirect(ch)
		case '#':
			if s.inWord {
				s.add("#")
				continue
			}
			_, rest, found := strings.Cut(s.text[s.at:], "\n")
			if s.at = len(s.text); found {
				s.at -= len(rest) + 1
			}
		default:
			s.add(s.text[s.at-1 : s.at])
		}
	}
	s.endCommand()
}

// mostWord and mostWords bound what one command can expand to, and mostWork the sum for
// all.
const mostWord, mostWords, mostWork = 64 << 10, 4096, 2 << 20

func (s *scanner) add(text string) {
	if s.work += len(text) + 1; s.work > mostWork {
		s.steps = 0
		return
	}
	if s.word.Len()+len(text) <= mostWord {
		s.word.WriteString(text)
	}
	s.inWord = true
}

func (s *scanner) escaped() {
	if s.at == len(s.text) {
		return
	}
	if s.text[s.at] != '\n' {
		s.add(s.text[s.at : s.at+1])
	}
	s.at++
}

func (s *scanner) inQuotes() {
	s.inWord = true
	for s.at < len(s.text) {
		ch := s.text[s.at]
		s.at++
		switch {
		case ch == '"':
			return
		case ch == '\\' && s.at < len(s.text):
			s.escaped()
		case ch == '$':
			s.dollar(true)
		default:
			s.add(s.text[s.at-1 : s.at])
		}
	}
}

// redirect skips the target of a redirection: a file, or a here-document.
func (s *scanner) redirect(ch byte) {
	s.endWord()
	rest := s.text[s.at:]
	if ch == '<' && strings.HasPrefix(rest, "<") && !strings.HasPrefix(rest, "<<") {
		rest = strings.TrimLeft(rest[1:], "- \t")
		end := strings.IndexAny(rest, " \t\n;|&)")
		if end < 0 {
			end = len(rest)
		}
		s.ends = strings.Trim(rest[:end], `'"\`)
		s.at = len(s.text) - len(rest) + end
		return
	}
	s.at += len(rest) - len(strings.TrimLeft(rest, "<>&|"))
	s.skip = true
}

// skipInput skips a here-document, since it contains no commands. For Python it is
// followed as a script.
func (s *scanner) skipInput() {
	if s.ends == "" {
		return
	}
	text := s.text[s.at:]
	for line := range strings.Lines(text) {
		s.at += len(line)
		if strings.TrimSpace(line) == s.ends {
			break
		}
	}
	s.ends = ""
}

func (s *scanner) endWord() {
	if s.inWord && !s.skip && len(s.words) < mostWords {
		s.words = append(s.words, s.word.String())
	}
	if s.inWord {
		s.skip = false
	}
	s.word.Reset()
	s.inWord = false
}

func (s *scanner) endCommand() {
	s.endWord()
	words := s.words
	s.words = nil
	s.simple(words)
}

// simple follows a simple command with its assignments.
func (s *scanner) simple(words []string) {
	assigned := map[string]string{}
	for len(words) > 0 {
		name, value, ok := assignment(words[0])
		if ok {
			assigned[name] = value
		} else if !goesBefore(words[0]) {
			break
		}
		words = words[1:]
	}
	if len(words) == 0 {
		maps.Copy(s.vars, assigned)
		return
	}
	if s.builtin(words[0], words[1:]) {
		return
	}
	before := s.vars
	s.vars = maps.Clone(before)
	maps.Copy(s.vars, assigned)
	s.program(words[0], words[1:], false, s.depth)
	s.vars = before
}

// builtin follows a builtin of the shell, which affects what comes after it.
func (s *scanner) builtin(name string, args []string) bool {
	switch name {
	case "export", "declare", "typeset", "local", "readonly":
		for _, arg := range args {
			if name, value, ok := assignment(arg); ok {
				s.vars[name] = value
			}
		}
	case "unset":
		for _, arg := range args {
			s.vars[arg] = ""
		}
	case "cd", "pushd":
		if len(args) > 0 && args[len(args)-1] != "-" {
			s.cwd = s.absolute(args[len(args)-1])
		}
	case "shift":
		if len(s.args) > 1 {
			s.args = append(s.args[:1:1], s.args[2:]...)
		}
	case "for":
		if len(args) > 2 && args[1] == "in" {
			s.vars[args[0]] = args[2]
		}
	case "eval":
		s.shellText(strings.Join(args, " "), s.args, s.depth+1)
	case ".", "source":
		s.source(args)
	case "conda", "mamba", "micromamba":
		if len(args) == 0 || args[0] != "activate" {
			return false
		}
		s.activateFor(args[1:])
	case "module", "ml":
		s.modules(args)
	default:
		return false
	}
	return true
}

// source follows a script that changes this one's variables.
func (s *scanner) source(args []string) {
	if len(args) == 0 || s.depth > mostDepth {
		return
	}
	file := s.absolute(args[0])
	if path.Base(file) == "activate" {
		if len(args) > 1 {
			s.activateFor(args[1:])
		} else {
			s.activate(path.Dir(path.Dir(file))) // of a virtual environment, or of conda itself
		}
		return
	}
	text := s.read(file)
	s.steps--
	inner := &scanner{command: s.command, text: text, args: append([]string{file}, args[1:]...), depth: s.depth + 1}
	inner.run()
}

// assignment splits NAME=VALUE.
func assignment(word string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(word, "=")
	if !ok || name == "" || !isNameStart(name[0]) || strings.ContainsAny(name, "/-. ") {
		return "", "", false
	}
	return name, value, true
}

// goesBefore reports whether a command may follow a word of a shell script.
func goesBefore(word string) bool {
	return slices.Contains([]string{
		"exec", "command", "builtin", "time", "if", "then", "else", "elif", "while", "until", "do", "!", "{", "}", "[[",
	}, word)
}
