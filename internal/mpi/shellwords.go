package mpi

import (
	"path"
	"strings"
)

// dollar expands $NAME, ${NAME}, ${NAME:-value}, $(command), $1, or all arguments, each
// as a word. Unknown values are empty.
func (s *scanner) dollar(quoted bool) {
	rest := s.text[s.at:]
	switch {
	case rest == "":
		s.add("$")
	case rest[0] == '(':
		end := closing(rest)
		s.at = min(s.at+end+1, len(s.text))
		s.insert(s.output(rest[1:end]), quoted)
	case rest[0] == '{':
		inner, after, _ := strings.Cut(rest[1:], "}")
		s.at = len(s.text) - len(after)
		s.insertVariable(inner, quoted)
	default:
		n := 1
		for isNameStart(rest[0]) && n < len(rest) && (isNameStart(rest[n]) || '0' <= rest[n] && rest[n] <= '9') {
			n++
		}
		s.at += n
		s.insertVariable(rest[:n], quoted)
	}
}

func isNameStart(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// closing returns where the parenthesis ends that begins the text: at the end of the
// text, if it is not closed.
func closing(text string) int {
	open := 0
	for i := range len(text) {
		switch text[i] {
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				return i
			}
		}
	}
	return len(text)
}

func (s *scanner) insertVariable(inner string, quoted bool) {
	if inner != "" && (inner[0] == '@' || inner[0] == '*') {
		for _, arg := range s.args[min(1, len(s.args)):] {
			if s.steps <= 0 {
				return
			}
			s.add(arg)
			s.endWord()
		}
		return
	}
	name, other, _ := strings.Cut(inner, ":")
	if i := strings.IndexAny(name, "-+#%/="); i > 0 {
		name, other = name[:i], name[i:]
	}
	value := s.value(name)
	other = strings.TrimPrefix(strings.TrimPrefix(other, "-"), "=")
	switch {
	case strings.HasPrefix(other, "+"): // ${NAME:+:$NAME}, as in search paths
		if value != "" {
			value = strings.ReplaceAll(strings.ReplaceAll(other[1:], "${"+name+"}", value), "$"+name, value)
		}
	case value == "":
		value = other
	}
	s.insert(value, quoted)
}

func (s *scanner) value(name string) string {
	if len(name) == 1 && '0' <= name[0] && name[0] <= '9' {
		if i := int(name[0] - '0'); i < len(s.args) {
			return s.args[i]
		}
		return ""
	}
	switch name {
	case "PWD":
		return s.cwd
	case "BASH_SOURCE", "BASH_SOURCE[0]":
		name = "0"
		return s.value(name)
	}
	if name == "" || !isNameStart(name[0]) {
		return ""
	}
	return s.get(name)
}

// insert adds the result of an expansion: without quotes it may be several words.
func (s *scanner) insert(value string, quoted bool) {
	if quoted || !strings.ContainsAny(value, " \t\n") {
		if value != "" || quoted {
			s.add(value)
		}
		return
	}
	for _, word := range strings.Fields(value) {
		s.add(word)
		s.endWord()
	}
}

// output returns the output of the few commands by which scripts find their own
// location; others are only followed.
func (s *scanner) output(text string) string {
	words := strings.Fields(strings.NewReplacer(`"`, "", "'", "", "{", "", "}", "", "$(", "", ")", "").Replace(text))
	for i, word := range words {
		if strings.HasPrefix(word, "$") {
			words[i] = s.value(word[1:])
		}
	}
	if len(words) > 1 {
		last := words[len(words)-1]
		switch words[0] {
		case "which", "command", "type":
			return last
		case "basename":
			return path.Base(words[1])
		case "dirname": // $(dirname "$(readlink -f "$0")")
			return path.Dir(last) // the path that another command prints: mostly its last word
		case "readlink", "realpath":
			return last
		case "cd":
			if last == "pwd" || last == "-P" {
				return s.absolute(s.directory(words[1:]))
			}
		}
	}
	if text == "pwd" {
		return s.cwd
	}
	s.shellText(text, s.args, s.depth+1)
	return ""
}

// directory returns the argument of cd: a path, or a computed one as in cd "$(dirname
// "$0")".
func (s *scanner) directory(words []string) string {
	if words[0] == "dirname" && len(words) > 1 {
		return path.Dir(words[1])
	}
	return strings.TrimSuffix(words[0], ";")
}

func (s *scanner) absolute(dir string) string {
	if path.IsAbs(dir) {
		return path.Clean(dir)
	}
	return path.Join(s.cwd, dir)
}
