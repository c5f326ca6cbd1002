package request

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// A Variable is what the user wants of a variable of the container's environment.
type Variable struct {
	Name string

	// Value is set, whatever the image says. ${NAME} and ${NAME:-default} in it stand for variables
	// of the container if Expand is set.
	Value  string
	Expand bool

	// Pass lets the job's value win over the image's instead. Unset removes the variable.
	Pass, Unset bool

	By string
}

// maxVariable is how long NAME=VALUE may be, with its end, in bytes (execve(2), MAX_ARG_STRLEN).
const maxVariable = 128 << 10

// ParseVariable reads NAME=VALUE, which sets a variable, or NAME, whose value in the job is to win.
func ParseVariable(value, by string) (Variable, error) {
	name, assigned, found := strings.Cut(value, "=")
	if err := checkName(name); err != nil {
		return Variable{}, fmt.Errorf("%s: %w", by, err)
	}
	switch {
	case strings.ContainsRune(assigned, 0):
		return Variable{}, fmt.Errorf("%s: variable %s: a NUL byte in its value", by, name)
	case len(value) >= maxVariable:
		return Variable{}, fmt.Errorf("%s: variable %s: %d bytes, and a program takes less than %d: %s", by, text.Printable(name), len(value), maxVariable, text.Quoted(assigned))
	}
	return Variable{Name: name, Value: assigned, Pass: !found, By: by}, nil
}

func checkName(name string) error {
	if name == "" || strings.ContainsAny(name, "= \t\n\x00") {
		return fmt.Errorf("%s is not the name of a variable", text.Quoted(name))
	}
	return nil
}

// AddVariables adds variables. A later one of the same name wins.
func (r *Request) AddVariables(variables ...Variable) {
	for _, v := range variables {
		r.Env = slices.DeleteFunc(r.Env, func(old Variable) bool { return old.Name == v.Name })
		r.Env = append(r.Env, v)
	}
}

// ParseEnvFile reads lines of NAME=VALUE, or NAME as in ParseVariable. Empty lines and those that
// begin with # are skipped. Values are taken as they are, with quotes.
func ParseEnvFile(data, file string) (variables []Variable, err error) {
	number := 0
	for line := range strings.Lines(data) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if trimmed := strings.TrimSpace(line); trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		v, err := ParseVariable(strings.TrimPrefix(strings.TrimLeft(line, " \t"), "export "), fmt.Sprintf("%s:%d", text.Printable(file), number))
		if err != nil {
			return nil, err
		}
		variables = append(variables, v)
	}
	return variables, nil
}

// Expand replaces ${NAME} by the value of a variable, ${NAME:-default} by the default if there is no
// such variable or it is empty, and $$ by $. A variable without value or default is an error.
func Expand(value string, lookup func(name string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(value, "$")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), nil
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			value = rest[1:]
			continue
		case !strings.HasPrefix(rest, "{"):
			b.WriteByte('$')
			value = rest
			continue
		}
		inner, after, closed := strings.Cut(rest[1:], "}")
		if !closed {
			return "", fmt.Errorf("%s: a } is missing", text.Quoted("$"+rest))
		}
		name, fallback, hasFallback := strings.Cut(inner, ":-")
		if err := checkName(name); err != nil {
			return "", err
		}
		found2, ok := lookup(name)
		switch {
		case hasFallback && found2 == "":
			found2 = fallback
		case !ok:
			return "", fmt.Errorf("${%s}: there is no variable %s; ${%s:-} is empty then", name, name, name)
		}
		b.WriteString(found2)
		value = after
	}
}
