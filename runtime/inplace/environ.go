package inplace

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// environment returns the application's variables: each name once, with its last value, and HOME if
// it is missing or empty. libcontainer does the same.
func environment(env []string) []string {
	last := make(map[string]int, len(env))
	for i, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		last[name] = i
	}
	made, home := make([]string, 0, len(env)+1), false
	for i, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if last[name] != i || name == "HOME" && value == "" {
			continue
		}
		home = home || name == "HOME"
		made = append(made, entry)
	}
	if !home {
		made = append(made, "HOME="+homeOf(unix.Geteuid()))
	}
	return made
}

// maxPasswd limits what is read of a container's passwd, in bytes.
const maxPasswd = 1 << 20

// homeOf returns the home directory in the container's passwd(5), which may be hostile; / if it has
// none.
func homeOf(uid int) string {
	f, err := os.OpenFile("/etc/passwd", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "/"
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "/"
	}
	lines := bufio.NewScanner(io.LimitReader(f, maxPasswd))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) >= 6 && fields[2] == strconv.Itoa(uid) && strings.HasPrefix(fields[5], "/") {
			return fields[5]
		}
	}
	return "/"
}
