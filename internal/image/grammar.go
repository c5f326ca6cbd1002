package image

import (
	"strconv"
	"strings"
)

// Repositories and tags follow distribution-spec 1.1 (Pulling manifests), and registries
// distribution/reference. They are parsed by hand: a regexp would be compiled at each start.

const (
	maxRegistry   = 255 // bytes of a host name
	maxRepository = 255 // bytes, including the registry: the limit of registries
	maxTag        = 128 // bytes
	maxName       = 255 // bytes of a file's name
	hexDigits     = 64  // of SHA-256
)

func isLower(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
func isAlnum(c byte) bool { return isLower(c) || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// all reports whether s is not empty and every byte of it is ok.
func all(s string, ok func(c byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return s != ""
}

// validRepository reports whether s consists of components of the form
// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* with slashes between them.
func validRepository(s string) bool {
	if len(s) > maxRepository {
		return false
	}
	for component := range strings.SplitSeq(s, "/") {
		if !validComponent(component) {
			return false
		}
	}
	return true
}

func validComponent(s string) bool {
	for {
		n := 0
		for n < len(s) && isLower(s[n]) {
			n++
		}
		if n == 0 {
			return false
		}
		if s = s[n:]; s == "" {
			return true
		}
		switch {
		case s[0] == '-':
			s = strings.TrimLeft(s, "-")
		case strings.HasPrefix(s, "__"):
			s = s[2:]
		case s[0] == '.' || s[0] == '_':
			s = s[1:]
		default:
			return false
		}
	}
}

// validTag reports whether s is [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}.
func validTag(s string) bool {
	return len(s) <= maxTag && all(s, func(c byte) bool { return isAlnum(c) || c == '_' || c == '.' || c == '-' }) &&
		s[0] != '.' && s[0] != '-'
}

// ValidDigest reports whether d is sha256: followed by 64 lower-case hexadecimal digits.
func ValidDigest(d Digest) bool {
	hex, ok := strings.CutPrefix(string(d), "sha256:")
	return ok && len(hex) == hexDigits && all(hex, func(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' })
}

// ValidRegistry reports whether s is a host, by name or address, maybe with a port.
func ValidRegistry(s string) bool {
	if len(s) > maxRegistry {
		return false
	}
	var host, port string
	var hasPort bool
	if strings.HasPrefix(s, "[") {
		var closed bool
		if host, port, closed = strings.Cut(s[1:], "]"); !closed {
			return false
		}
		if port, hasPort = strings.CutPrefix(port, ":"); !hasPort && port != "" {
			return false
		}
		// The resolver checks the address further.
		if !strings.Contains(host, ":") || !all(host, func(c byte) bool { return isAlnum(c) || c == ':' || c == '.' }) {
			return false
		}
	} else {
		host, port, hasPort = strings.Cut(s, ":")
		for label := range strings.SplitSeq(host, ".") {
			if !all(label, func(c byte) bool { return isAlnum(c) || c == '-' }) || label[0] == '-' || label[len(label)-1] == '-' {
				return false
			}
		}
	}
	if !hasPort {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// looksLikeRegistry reports whether the part of a reference before the first slash is a
// registry, by the rule of Docker and of enroot since 4.0.
func looksLikeRegistry(s string) bool {
	return strings.ContainsAny(s, ".:") || s == "localhost"
}

// ValidName reports whether s can name an environment, an image of the store or a container:
// letters, digits, '.', '_' and '-', the first of them a letter or digit.
func ValidName(s string) bool {
	return len(s) <= maxName && all(s, func(c byte) bool { return isAlnum(c) || c == '.' || c == '_' || c == '-' }) && isAlnum(s[0])
}

// validUser reports whether s can be a registry's user, such as $oauthtoken, robot$build or
// somebody@example.org.
func validUser(s string) bool {
	return len(s) <= maxName && all(s, func(c byte) bool { return c > ' ' && c < 0x7f && !strings.ContainsRune(`/:#?"'\`+"`", rune(c)) })
}

// validEngineName reports whether s can name an image to Docker or Podman: a reference or an
// id.
func validEngineName(s string) bool {
	return len(s) <= 2*maxRepository && all(s, func(c byte) bool { return isAlnum(c) || strings.IndexByte("._:/@-", c) >= 0 }) && isAlnum(s[0])
}
