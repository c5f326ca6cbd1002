// Package yaml reads the part of YAML in which device specifications are written. Its
// input is bounded, since anyone may have written it.
package yaml

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// Parse reads the part of YAML 1.2 in which CDI specifications are written: block
// mappings and sequences, flow sequences and mappings on one line, plain scalars on one
// or more lines, quoted scalars, and comments. Anything else (anchors, tags, block
// scalars, several documents) is an error with its line. Values have the types of
// encoding/json.
func Parse(text string) (any, error) {
	p := &parser{}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \r")
		content := strings.TrimLeft(line, " ")
		switch {
		case content == "" || content[0] == '#':
			continue
		case line == "---" && len(p.lines) == 0:
			continue
		case line == "---" || line == "...":
			return nil, fmt.Errorf("line %d: several documents are not supported", i+1)
		case content[0] == '\t':
			return nil, fmt.Errorf("line %d: tabs cannot be used for indentation", i+1)
		}
		p.lines = append(p.lines, sourceLine{i + 1, len(line) - len(content), content})
	}
	if len(p.lines) == 0 {
		return nil, fmt.Errorf("the file is empty")
	}
	value, err := p.block(p.lines[0].indent)
	if err != nil {
		return nil, err
	}
	if p.at < len(p.lines) {
		return nil, p.fail("has unexpected indentation")
	}
	return value, nil
}

// mostNesting bounds how deeply blocks are nested.
const mostNesting = 64

type sourceLine struct {
	number, indent int
	text           string // without indentation
}

type parser struct {
	lines []sourceLine
	at    int
	depth int
}

func (p *parser) fail(why string) error {
	at := min(p.at, len(p.lines)-1)
	return fmt.Errorf("line %d: %s %s", p.lines[at].number, text.Printable(p.lines[at].text), why)
}

// block reads the mapping or sequence that begins at the current line.
func (p *parser) block(indent int) (any, error) {
	if p.depth++; p.depth > mostNesting {
		return nil, p.fail("is nested too deeply")
	}
	defer func() { p.depth-- }()
	line := p.lines[p.at]
	if line.text == "-" || strings.HasPrefix(line.text, "- ") {
		return p.sequence(indent)
	}
	if _, _, ok := cutKey(line.text); ok {
		return p.mapping(indent)
	}
	value, err := p.scalar(line.text, indent-1)
	return value, err
}

func (p *parser) sequence(indent int) (any, error) {
	list := []any{}
	for p.at < len(p.lines) && p.lines[p.at].indent == indent {
		line := &p.lines[p.at]
		rest, ok := strings.CutPrefix(line.text, "-")
		if !ok || rest != "" && rest[0] != ' ' {
			break
		}
		item := strings.TrimLeft(rest, " ")
		var value any
		var err error
		if item == "" || item[0] == '#' {
			value, err = p.nested(indent)
		} else {
			// What follows the dash is a block with more indentation.
			line.indent = indent + len(line.text) - len(item)
			line.text = item
			value, err = p.block(line.indent)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

func (p *parser) mapping(indent int) (any, error) {
	m := map[string]any{}
	for p.at < len(p.lines) && p.lines[p.at].indent == indent {
		key, rest, ok := cutKey(p.lines[p.at].text)
		if !ok {
			return nil, p.fail("is not \"key: value\"")
		}
		if _, twice := m[key]; twice {
			return nil, p.fail("repeats a key")
		}
		var value any
		var err error
		if rest == "" || rest[0] == '#' {
			value, err = p.valueBelow(indent)
		} else {
			value, err = p.scalar(rest, indent)
		}
		if err != nil {
			return nil, err
		}
		m[key] = value
	}
	if p.at < len(p.lines) && p.lines[p.at].indent > indent {
		return nil, p.fail("is indented too far")
	}
	return m, nil
}

// valueBelow reads the value of a key that ends its line. A sequence may begin in the
// column of the key.
func (p *parser) valueBelow(indent int) (any, error) {
	if next := p.at + 1; next < len(p.lines) && p.lines[next].indent == indent && strings.HasPrefix(p.lines[next].text+" ", "- ") {
		p.at = next
		return p.sequence(indent)
	}
	return p.nested(indent)
}

// nested reads the block below the current line; nil if there is no such block.
func (p *parser) nested(indent int) (any, error) {
	p.at++
	if p.at == len(p.lines) || p.lines[p.at].indent <= indent {
		return nil, nil //nolint:nilnil // null
	}
	return p.block(p.lines[p.at].indent)
}

// cutKey splits a line at the colon after its key.
func cutKey(line string) (key, rest string, ok bool) {
	if line[0] == '"' || line[0] == '\'' {
		end := quoteEnd(line)
		if end < 0 || end >= len(line) || line[end] != ':' || end+1 < len(line) && line[end+1] != ' ' {
			return "", "", false
		}
		key, err := unquote(line[:end])
		return key, strings.TrimLeft(line[end+1:], " "), err == nil
	}
	if strings.ContainsRune("[{&*!|>%@`", rune(line[0])) {
		return "", "", false
	}
	if key, ok := strings.CutSuffix(line, ":"); ok && !strings.Contains(key, ": ") {
		return key, "", true
	}
	key, rest, ok = strings.Cut(line, ": ")
	return key, strings.TrimLeft(rest, " "), ok
}

// scalar reads a value that begins on the current line; a plain one continues on lines
// that are indented further than indent.
func (p *parser) scalar(text string, indent int) (any, error) {
	switch text[0] {
	case '"', '\'':
		end := quoteEnd(text)
		if end < 0 || !isComment(text[end:]) {
			return nil, p.fail("has a quoted string that does not end on its line")
		}
		value, err := unquote(text[:end])
		if err != nil {
			return nil, p.fail("has an invalid quoted string")
		}
		p.at++
		return value, nil
	case '[', '{':
		f := flow{text: text}
		value, err := f.value(0)
		if err != nil || !isComment(f.text) {
			return nil, p.fail("has an invalid list or mapping")
		}
		p.at++
		return value, nil
	case '&', '*', '!', '|', '>', '%', '@', '`':
		return nil, p.fail("uses a part of YAML that is not supported")
	}
	text = withoutComment(text)
	for p.at++; p.at < len(p.lines) && p.lines[p.at].indent > indent; p.at++ {
		next := withoutComment(p.lines[p.at].text)
		if strings.HasSuffix(next, ":") || strings.Contains(next, ": ") {
			return nil, p.fail("is indented too far")
		}
		text += " " + next
	}
	if strings.Contains(text, ": ") {
		p.at--
		return nil, p.fail("has a colon in an unquoted string")
	}
	return plainYAML(text), nil
}

// plainYAML returns the value of a plain scalar, mostly by the core schema.
func plainYAML(text string) any {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nil
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	}
	// A leading zero means octal, as in the libraries that write specifications.
	if len(text) > 1 && text[0] == '0' {
		if n, err := strconv.ParseInt(text, 8, 64); err == nil {
			return n
		}
	} else if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if digits, ok := strings.CutPrefix(text, "0o"); ok {
		if n, err := strconv.ParseInt(digits, 8, 64); err == nil {
			return n
		}
	}
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		if n, err := strconv.ParseInt(digits, 16, 64); err == nil {
			return n
		}
	}
	return text
}
