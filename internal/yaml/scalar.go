package yaml

import (
	"errors"
	"strconv"
	"strings"
)

var errUnknown = errors.New("not understood")

// quoteEnd returns the index after the quoted string at the start of s, -1 if it does
// not end.
func quoteEnd(s string) int {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quote == '"':
			i++
		case s[i] == quote && quote == '\'' && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return -1
}

// unquote returns the content of a quoted string.
func unquote(s string) (string, error) {
	if s[0] == '\'' {
		return strings.ReplaceAll(s[1:len(s)-1], "''", "'"), nil
	}
	// Escapes of YAML that Go does not have.
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
			switch s[i] {
			case '/', ' ':
				b.WriteByte(s[i])
			case 'e':
				b.WriteString(`\x1b`)
			case '0':
				b.WriteString(`\x00`)
			default:
				b.WriteByte('\\')
				b.WriteByte(s[i])
			}
			continue
		}
		b.WriteByte(s[i])
	}
	return strconv.Unquote(b.String())
}

// isComment reports whether a value is followed only by a comment.
func isComment(s string) bool {
	trimmed := strings.TrimLeft(s, " ")
	return trimmed == "" || trimmed[0] == '#' && len(trimmed) < len(s)
}

// withoutComment removes a comment after a plain scalar.
func withoutComment(s string) string {
	if i := strings.Index(s, " #"); i >= 0 {
		s = s[:i]
	}
	return strings.TrimRight(s, " ")
}

// A flow is the unread part of a list in brackets or a mapping in braces.
type flow struct{ text string }

func (f *flow) skip() { f.text = strings.TrimLeft(f.text, " ") }

// take reads the character c if it is next.
func (f *flow) take(c byte) bool {
	f.skip()
	if f.text == "" || f.text[0] != c {
		return false
	}
	f.text = f.text[1:]
	return true
}

func (f *flow) value(depth int) (any, error) {
	switch {
	case depth > mostNesting:
		return nil, errUnknown
	case f.take('['):
		return f.sequence(depth)
	case f.take('{'):
		return f.mapping(depth)
	}
	text, quoted, err := f.scalar()
	if err != nil || quoted {
		return text, err
	}
	return plainYAML(text), nil
}

func (f *flow) sequence(depth int) (any, error) {
	list := []any{}
	for !f.take(']') {
		value, err := f.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
		if !f.take(',') {
			if f.take(']') {
				break
			}
			return nil, errUnknown
		}
	}
	return list, nil
}

func (f *flow) mapping(depth int) (any, error) {
	m := map[string]any{}
	for !f.take('}') {
		key, _, err := f.scalar()
		if err != nil || !f.take(':') {
			return nil, errUnknown
		}
		value, err := f.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if _, twice := m[key]; twice {
			return nil, errUnknown
		}
		m[key] = value
		if !f.take(',') {
			if f.take('}') {
				break
			}
			return nil, errUnknown
		}
	}
	return m, nil
}

// scalar reads a scalar up to the character that ends it.
func (f *flow) scalar() (text string, quoted bool, err error) {
	f.skip()
	if f.text == "" {
		return "", false, errUnknown
	}
	if f.text[0] == '"' || f.text[0] == '\'' {
		end := quoteEnd(f.text)
		if end < 0 {
			return "", false, errUnknown
		}
		text, err = unquote(f.text[:end])
		f.text = f.text[end:]
		return text, true, err
	}
	end := 0
	for end < len(f.text) && !strings.ContainsRune(",[]{}", rune(f.text[end])) && !strings.HasPrefix(f.text[end:]+" ", ": ") {
		end++
	}
	text = strings.TrimSpace(f.text[:end])
	f.text = f.text[end:]
	if text == "" || strings.ContainsRune("&*!|>%@`#", rune(text[0])) {
		return "", false, errUnknown
	}
	return text, false, nil
}
