package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"
)

// maxLastWords is how many bytes of last words are kept at most: a hook's output is part of
// them.
const maxLastWords = 64 << 10

// wordsPatience is how long to wait for the last words of a process that has ended.
const wordsPatience = time.Second

// lastWords receives the error of a process that cannot become the application: a
// startContainer hook failed, or the kernel refused to execute the command. By then
// libcontainer has closed its pipes, and would print the error to the application's stderr,
// where it could be mistaken for the application's own output.
type lastWords struct {
	theirs *os.File    // the write end, until the process has started
	said   chan string // gets one value when the process has ended or executed
}

// listenByName gives the process a pipe for its last words, numbered after the descriptors
// that the application gets. The process finds the number in our os.Args[0]; see
// BecomeInit.
func listenByName(p *libcontainer.Process) (*lastWords, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe for errors of a launch: %w", err)
	}
	p.ExtraFiles = append(p.ExtraFiles, w)
	os.Args[0] = supervisedName + ":" + strconv.Itoa(2+len(p.ExtraFiles))
	words := &lastWords{theirs: w, said: make(chan string, 1)}
	go func() {
		text, _ := io.ReadAll(io.LimitReader(r, maxLastWords))
		_, _ = io.Copy(io.Discard, r) // so that the process is not blocked in a write
		r.Close()
		words.said <- strings.TrimSpace(string(text))
	}()
	return words, nil
}

// leave closes our copy of the write end, once the process has its own or failed to start.
func (w *lastWords) leave() {
	if w != nil {
		w.theirs.Close()
	}
}

// text returns the last words, empty if there are none.
func (w *lastWords) text() string {
	if w == nil {
		return ""
	}
	select {
	case text := <-w.said:
		return text
	case <-time.After(wordsPatience):
		return ""
	}
}

// speakTo makes this process write its last words to the descriptor, which is closed when
// the application is executed.
func speakTo(descriptor string) {
	fd, err := strconv.Atoi(descriptor)
	if err != nil {
		return
	}
	unix.CloseOnExec(fd)
	os.Stderr = os.NewFile(uintptr(fd), "last words")
}

// refusal makes an error from the last words of a process that ended before it became the
// command.
func refusal(doing, command, words string) error {
	reason, executing := strings.CutPrefix(words, "exec ")
	if at := strings.LastIndex(reason, ": "); at >= 0 {
		reason = reason[at+2:]
	}
	switch {
	case words == "":
		return fmt.Errorf("execute %q: %w", command, ErrNotExecutable)
	case !executing:
		return fmt.Errorf("%s: %w", doing, errors.New(words))
	case reason == unix.ENOENT.Error():
		// libcontainer has found the command itself. Docker's exit status is 127 because of
		// execve's words at the end.
		return fmt.Errorf("execute %q: %w: the interpreter of the script, or the loader of the program, does not exist in the container: %s",
			command, ErrCommandNotFound, reason)
	}
	return fmt.Errorf("execute %q: %w: %s", command, ErrNotExecutable, reason)
}
