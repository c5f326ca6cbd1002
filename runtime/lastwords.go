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

// maxLastWords bounds what is kept of them, in bytes: the output of a hook is among them.
const maxLastWords = 64 << 10

// wordsPatience is how long the last words of a process that has ended may take.
const wordsPatience = time.Second

// lastWords is what the first process of a launch says when it cannot become the
// application: a startContainer hook failed, or the kernel refused to execute the command.
// By then libcontainer has let go of its pipes and would print the reason to the
// application's stderr, where nobody could tell one from the other.
type lastWords struct {
	theirs *os.File    // until the process has started
	said   chan string // one value, when the process has ended or executed
}

// listenByName gives the process a place for its last words, behind the descriptors that the
// application gets. The process finds its number in our name, os.Args[0]; see
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
		_, _ = io.Copy(io.Discard, r) // it must not wait for us
		r.Close()
		words.said <- strings.TrimSpace(string(text))
	}()
	return words, nil
}

// leave closes our end: the process has its own, or never will.
func (w *lastWords) leave() {
	if w != nil {
		w.theirs.Close()
	}
}

// text returns the last words, empty for none.
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

// speakTo makes the process say its last words to the descriptor. It closes when the
// application is executed.
func speakTo(descriptor string) {
	fd, err := strconv.Atoi(descriptor)
	if err != nil {
		return
	}
	unix.CloseOnExec(fd)
	os.Stderr = os.NewFile(uintptr(fd), "last words")
}

// refusal is the error of a process that ended before it became the command, by its last
// words.
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
		// libcontainer has found the command itself. With execve's words at the end, by
		// which Docker's exit status is 127.
		return fmt.Errorf("execute %q: %w: the interpreter of the script, or the loader of the program, does not exist in the container: %s",
			command, ErrCommandNotFound, reason)
	}
	return fmt.Errorf("execute %q: %w: %s", command, ErrNotExecutable, reason)
}
