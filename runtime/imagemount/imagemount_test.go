package imagemount

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/pace"
)

// A server that has ended, at whatever moment, is one that is not there; what one that lives says
// is an error.
func TestAsk(t *testing.T) {
	for name, test := range map[string]struct {
		serve func(t *testing.T, listener int)
		want  string
	}{
		"nobody listens":  {func(_ *testing.T, listener int) { _ = unix.Close(listener) }, ErrNoServer.Error()},
		"shut down":       {func(_ *testing.T, listener int) { _ = unix.Shutdown(listener, unix.SHUT_RD) }, ErrNoServer.Error()},
		"ends before":     {endsBefore, ErrNoServer.Error()},
		"ends meanwhile":  {func(t *testing.T, listener int) { go func() { _ = unix.Close(accept(t, listener)) }() }, ErrNoServer.Error()},
		"has a reason":    {says("no\x1b[m luck"), `ask for a mount of the image: "no\x1b[m luck"`},
		"has none at all": {says(""), ErrNoServer.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			s := Server{Socket: filepath.Join(dir, "socket"), Path: "image"}
			if _, err := s.Ask(); !errors.Is(err, ErrNoServer) || s.Answers() {
				t.Fatalf("without a socket: %v", err)
			}
			f, err := s.listen()
			if err != nil {
				t.Fatal(err)
			}
			listener, err := unix.Dup(int(f.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			test.serve(t, listener)
			mount, err := s.Ask()
			if mount != nil || err == nil || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("%v, %v, want %s", mount, err, test.want)
			}
		})
	}
}

// accept takes the next connection.
func accept(t *testing.T, listener int) int {
	t.Helper()
	conn, _, err := unix.Accept(listener)
	if err != nil {
		t.Error(err)
	}
	return conn
}

// endsBefore closes the listener when somebody has connected and is not accepted yet.
func endsBefore(_ *testing.T, listener int) {
	go func() {
		_ = pace.Until(10*time.Second, func() bool {
			fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, 0)
			return err == nil && n == 1
		})
		_ = unix.Close(listener)
	}()
}

func says(text string) func(*testing.T, int) {
	return func(t *testing.T, listener int) {
		go func() {
			conn := accept(t, listener)
			_, _ = unix.Write(conn, []byte(text))
			_ = unix.Close(conn)
			_ = unix.Close(listener)
		}()
	}
}
