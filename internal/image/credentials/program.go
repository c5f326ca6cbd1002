package credentials

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker-credential-helpers/client"
	helpers "github.com/docker/docker-credential-helpers/credentials"

	"github.com/ocishim/ocishim/internal/text"
)

const (
	// helperTime is how long a helper may take: some ask a service of their own.
	helperTime = 30 * time.Second

	maxHelperOutput = 64 << 10

	// tokenUser is the user name by which a helper marks the secret as an identity token.
	tokenUser = "<token>"
)

// helper asks docker-credential-NAME, which runs in the user's environment.
func (s *search) helper(name, path string) bool {
	program := "docker-credential-" + name
	file, err := s.environment.Program(program)
	if err != nil {
		s.warn(fmt.Sprintf("%s names the helper %s: %v", text.Whole(path), text.Printable(program), err))
		return false
	}
	ctx, cancel := context.WithTimeout(s.ctx, helperTime)
	defer cancel()
	run := func(args ...string) client.Program {
		cmd := exec.CommandContext(ctx, file, args...)
		cmd.Env, cmd.Dir, cmd.WaitDelay = s.environment.Env, "/", time.Second
		return &helperProgram{cmd}
	}
	found, err := client.Get(run, helperKey(s.asked.Registry))
	if helpers.IsErrCredentialsNotFound(err) {
		return false
	}
	if err != nil {
		s.warn(fmt.Sprintf("%s, named in %s, failed: %s", program, text.Whole(path), text.Printable(err.Error())))
		return false
	}
	c := Credential{Username: found.Username, Password: found.Secret, From: program}
	if found.Username == tokenUser {
		c = Credential{IdentityToken: found.Secret, From: program}
	}
	return s.take(c)
}

// Program finds a program in the absolute directories of the user's PATH.
func (e Environment) Program(program string) (string, error) {
	if strings.ContainsAny(program, "/\x00") {
		return "", errors.New("its name contains a slash")
	}
	for _, dir := range filepath.SplitList(e.Getenv("PATH")) {
		file := filepath.Join(dir, program)
		if info, err := os.Stat(file); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", errors.New("it is not in PATH")
}

// A helperProgram is a helper's process, as Docker's client for helpers wants it.
type helperProgram struct{ cmd *exec.Cmd }

// Output runs the helper and returns what it prints, up to maxHelperOutput bytes.
func (p *helperProgram) Output() ([]byte, error) {
	out := &bounded{most: maxHelperOutput}
	p.cmd.Stdout = out
	err := p.cmd.Run()
	return out.Bytes(), err
}

// Input sets the helper's standard input.
func (p *helperProgram) Input(in io.Reader) { p.cmd.Stdin = in }

// bounded is a buffer that fails beyond most bytes.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		return 0, fmt.Errorf("more than %d bytes", b.most)
	}
	return b.Buffer.Write(p)
}
