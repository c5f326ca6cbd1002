//go:build integration

package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// A member is one file of a layer or of a root file system. Both are written as lines, so that what
// is right can be read beside the layers:
//
//	PATH=CONTENT  PATH/  PATH->TARGET  PATH==FILE  PATH c1:3  PATH b8:0  PATH |
//
// which are a file, a directory, a symbolic link, a hard link, devices and a fifo. They may begin
// with attributes: [MODE UID:GID NAME=VALUE], NAME being an extended attribute.
type member struct {
	kind         byte // as in tar
	path         string
	mode         int64
	uid, gid     int
	content      string
	target       string // of links
	major, minor int64
	xattrs       map[string]string
}

// parseMember reads a line. A mistake in it is a mistake of the test.
func parseMember(line string) member {
	m := member{mode: 0o644, xattrs: map[string]string{}}
	attributes := ""
	if rest, ok := strings.CutPrefix(line, "["); ok {
		attributes, line, _ = strings.Cut(rest, "] ")
	}
	switch {
	case strings.HasSuffix(line, "/"):
		m.kind, m.path, m.mode = tar.TypeDir, strings.TrimSuffix(line, "/"), 0o755
	case strings.HasSuffix(line, " |"):
		m.kind, m.path = tar.TypeFifo, strings.TrimSuffix(line, " |")
	case strings.Contains(line, "->"):
		m.kind, m.mode = tar.TypeSymlink, 0o777
		m.path, m.target, _ = strings.Cut(line, "->")
	case strings.Contains(line, "=="):
		m.kind = tar.TypeLink
		m.path, m.target, _ = strings.Cut(line, "==")
	case strings.Contains(line, "="):
		m.kind = tar.TypeReg
		m.path, m.content, _ = strings.Cut(line, "=")
	default:
		path, device, _ := strings.Cut(line, " ")
		m.path, m.kind = path, map[byte]byte{'c': tar.TypeChar, 'b': tar.TypeBlock}[device[0]]
		if _, err := fmt.Sscanf(device[1:], "%d:%d", &m.major, &m.minor); err != nil {
			panic(line)
		}
	}
	for _, word := range strings.Fields(attributes) {
		if name, value, ok := strings.Cut(word, "="); ok {
			m.xattrs[name] = value
			continue
		}
		var err error
		if strings.Contains(word, ":") {
			_, err = fmt.Sscanf(word, "%d:%d", &m.uid, &m.gid)
		} else {
			m.mode, err = strconv.ParseInt(word, 8, 64)
		}
		if err != nil {
			panic(line)
		}
	}
	return m
}

// capability is security.capability with cap_net_raw=ep, as the kernel keeps it.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (m member) value(name string) string {
	if name == "security.capability" {
		return capability
	}
	return m.xattrs[name]
}

// archive makes the archive of a layer.
func archive(t *testing.T, lines []string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, line := range lines {
		m := parseMember(line)
		h := &tar.Header{
			Typeflag: m.kind, Name: m.path, Linkname: m.target, Mode: m.mode, Uid: m.uid, Gid: m.gid,
			Size: int64(len(m.content)), Devmajor: m.major, Devminor: m.minor,
		}
		if m.kind == tar.TypeDir {
			h.Name += "/"
		}
		for name := range m.xattrs {
			if h.PAXRecords == nil {
				h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+name] = m.value(name)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if _, err := w.Write([]byte(m.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
