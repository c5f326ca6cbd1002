package scrun

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
)

// controlSocket is the name of the socket for requests to the anchor, in the container's
// entry.
const controlSocket = "control"

// throughDir calls use with a short path of a file in the entry: the address of a socket is
// limited to 108 bytes.
func (c *Container) throughDir(name string, use func(path string) error) error {
	dir, err := os.OpenFile(c.entry.Dir(), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	return use(filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), name))
}

// listen serves requests: a line with a word and perhaps a number. The answer is a line,
// either empty or with an error.
func (a *anchor) listen() error {
	if a.c.isAdded() {
		return nil
	}
	return a.c.throughDir(controlSocket, func(path string) error {
		listener, err := net.Listen("unix", path)
		if err != nil {
			return fmt.Errorf("listen for start: %w", err)
		}
		listener.(*net.UnixListener).SetUnlinkOnClose(false)
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go a.serve(conn)
			}
		}()
		return nil
	})
}

func (a *anchor) serve(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		conn.Close()
		return
	}
	word, number, _ := strings.Cut(strings.TrimSpace(line), " ")
	a.do(func() {
		switch word {
		case "start":
			if err := a.startStep(); err != nil {
				reply(conn, err)
				return
			}
			a.waiting = append(a.waiting, conn)
		case "end": // for a container that was not started
			sig, _ := strconv.Atoi(number)
			if !a.launch.IsZero() {
				reply(conn, errors.New("it is started"))
				return
			}
			a.end(128 + sig)
			reply(conn, nil)
		default:
			reply(conn, fmt.Errorf("unknown request %q", word))
		}
	})
}

func reply(conn net.Conn, err error) {
	text := "\n"
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", "; ") + "\n"
	}
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = conn.Write([]byte(text))
	conn.Close()
}

// ask sends the anchor a request and waits for the answer.
func (c *Container) ask(request string) error {
	var answer string
	err := c.throughDir(controlSocket, func(path string) error {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := fmt.Fprintln(conn, request); err != nil {
			return err
		}
		answer, err = bufio.NewReader(conn).ReadString('\n')
		return err
	})
	switch text := strings.TrimSpace(answer); {
	case err != nil:
		return fmt.Errorf("ask the anchor: %w", err)
	case text == entry.ErrNotCreated.Error():
		return entry.ErrNotCreated
	case text != "":
		return errors.New(text)
	}
	return nil
}
