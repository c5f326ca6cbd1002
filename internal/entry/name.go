package entry

import (
	"fmt"
	"strconv"
	"strings"
)

// maxEntryName is the longest file name Linux allows (NAME_MAX), in bytes.
const maxEntryName = 255

// CheckID returns an error if id cannot name a container. An id has one to 255 printable
// bytes, counted after escaping, without '/' or blanks, and is neither "." nor "..".
func CheckID(id string) error {
	_, err := Name(id)
	return err
}

// Name maps an id to the name of its directory, reversibly. libcontainer allows only
// [A-Za-z0-9_.-] and '+', while a Slurm id contains a user name such as alice@realm. Any
// other byte, '+' itself, and a '.' at the beginning become '+' and two hexadecimal digits.
func Name(id string) (string, error) {
	switch id {
	case "":
		return "", fmt.Errorf("%w: it is empty", ErrInvalidID)
	case ".", "..":
		return "", fmt.Errorf("%w %q: it names a directory", ErrInvalidID, id)
	}
	var name strings.Builder
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case plain(c) && (c != '.' || i > 0):
			name.WriteByte(c)
		case c == '/':
			return "", fmt.Errorf("%w %q: it contains a '/'", ErrInvalidID, id)
		case c <= ' ' || c == 0x7f:
			return "", fmt.Errorf("%w %q: it contains a blank or control character", ErrInvalidID, id)
		default:
			fmt.Fprintf(&name, "+%02x", c)
		}
	}
	if name.Len() > maxEntryName {
		return "", fmt.Errorf("%w: %d bytes as a file name, at most %d are allowed", ErrInvalidID, name.Len(), maxEntryName)
	}
	return name.String(), nil
}

// ID returns the id of the entry with the name, or the name itself if Name does not make
// such names.
func ID(name string) string {
	var id strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '+' {
			id.WriteByte(name[i])
			continue
		}
		if i+2 >= len(name) {
			return name
		}
		c, err := strconv.ParseUint(name[i+1:i+3], 16, 8)
		if err != nil {
			return name
		}
		id.WriteByte(byte(c))
		i += 2
	}
	return id.String()
}

// plain reports whether c stands for itself in an entry's name.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || c == '-' || c == '.'
}
