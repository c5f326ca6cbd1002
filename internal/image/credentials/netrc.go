package credentials

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// enroot looks into enroot's file, which has netrc's format. Enroot passes it to a shell; here
// no command in it runs. $oauthtoken is kept as it is: it is the user's name at NVIDIA's registry.
func (s *search) enroot() {
	dir := s.environment.Getenv("ENROOT_CONFIG_PATH")
	if dir == "" {
		if dir = s.environment.Config(); dir == "" {
			return
		}
		dir = filepath.Join(dir, "enroot")
	}
	path := filepath.Join(dir, ".credentials")
	data, readable, err := read(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.warn(fmt.Sprintf("credentials in %s cannot be read: %v", text.Whole(path), err))
		}
		s.looked(path)
		return
	}
	if readable {
		s.warn(fmt.Sprintf("others may read the credentials in %s: chmod 600", text.Whole(path)))
	}
	for _, m := range parseNetrc(string(data)) {
		if !m.is(s.asked.Registry) {
			continue
		}
		if m.command() {
			s.warn(fmt.Sprintf("%s:%d: commands in $(...) are not run; give the password to: ocishim image login %s", text.Whole(path), m.line, s.asked.Registry))
			continue
		}
		if s.take(Credential{Username: s.environment.variable(m.login), Password: s.environment.variable(m.password), From: path}) {
			return
		}
	}
	s.looked(path)
}

// variable expands a text that consists of one environment variable, $NAME or ${NAME}.
func (e Environment) variable(s string) string {
	name, is := strings.CutPrefix(s, "$")
	if !is || s == "$oauthtoken" {
		return s
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "{"), "}")
	if value := e.Getenv(name); value != "" {
		return value
	}
	return s
}

// A machine is an entry of a netrc file.
type machine struct {
	name, login, password string
	line                  int
}

// is reports whether the machine is the registry. Enroot calls Docker Hub by the name of its
// token server.
func (m machine) is(registry string) bool {
	host, _, _ := strings.Cut(registry, ":")
	name := strings.ToLower(m.name)
	return name == registry || name == host || registry == hub && (name == "auth.docker.io" || normalKey(name) == hub)
}

// command reports whether a shell would run a command in the entry.
func (m machine) command() bool {
	return strings.Contains(m.login+m.password, "$(") || strings.Contains(m.login+m.password, "`")
}

// parseNetrc reads the entries of a netrc file. Lines that begin with # are comments. A
// password in $(...) may contain spaces.
func parseNetrc(data string) []machine {
	var machines []machine
	var key string
	for i, line := range strings.Split(data, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, word := range words(line) {
			switch {
			case key == "":
				key = word
				if key == "default" {
					key = ""
					machines = append(machines, machine{line: i + 1})
				}
				continue
			case key == "machine":
				machines = append(machines, machine{name: word, line: i + 1})
			case len(machines) == 0:
			case key == "login":
				machines[len(machines)-1].login = word
			case key == "password":
				machines[len(machines)-1].password = word
			}
			key = ""
		}
	}
	return machines
}

// words splits at spaces outside of $(...).
func words(line string) []string {
	var all []string
	depth, start := 0, -1
	for i := range len(line) {
		space := line[i] == ' ' || line[i] == '\t' || line[i] == '\r'
		switch {
		case start < 0 && !space:
			start = i
		case start >= 0 && space && depth == 0:
			all = append(all, line[start:i])
			start = -1
		}
		switch {
		case strings.HasPrefix(line[i:], "$("):
			depth++
		case line[i] == ')' && depth > 0:
			depth--
		}
	}
	if start >= 0 {
		all = append(all, line[start:])
	}
	return all
}
