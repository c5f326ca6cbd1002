package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/console"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// secretMost is the longest password, in bytes: tokens of clouds have a few thousand.
const secretMost = 64 << 10

// errNoTerminal says that there is no terminal to ask the user at.
var errNoTerminal = errors.New("there is no terminal to ask at")

func (p *program) loginCommand() *cli.Command {
	return &cli.Command{
		Name: "login", Usage: "check a password with a registry, and keep it", ArgsUsage: "REGISTRY",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "username", Aliases: []string{"u"}, Usage: "log in as `USER`"},
			&cli.BoolFlag{Name: "password-stdin", Usage: "read the password from standard input"},
		},
		Action: p.login,
	}
}

func (p *program) login(c *cli.Context) error {
	registry, err := registryOf(c)
	if err != nil {
		return err
	}
	user := c.String("username")
	var password string
	if c.Bool("password-stdin") {
		if user == "" {
			return usageError{errors.New("--password-stdin needs --username")}
		}
		password, err = secret(os.Stdin)
	} else {
		user, password, err = ask(c.Context, user)
	}
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	client, err := p.client(c)
	if err != nil {
		return err
	}
	host, _, _ := strings.Cut(registry, "/")
	if err := client.Check(c.Context, host, user, password); err != nil {
		return err
	}
	file, err := p.credentials(c.String("authfile")).Login(registry, user, password)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "ocishim-image: the password of user %s for %s is kept in %s\n", text.Printable(user), registry, text.Whole(file))
	return nil
}

func (p *program) logoutCommand() *cli.Command {
	return &cli.Command{
		Name: "logout", Usage: "remove the password for a registry", ArgsUsage: "REGISTRY",
		Action: func(c *cli.Context) error {
			registry, err := registryOf(c)
			if err != nil {
				return err
			}
			file, err := p.credentials(c.String("authfile")).Logout(registry)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "ocishim-image: the password for %s was removed from %s\n", registry, text.Whole(file))
			return nil
		},
	}
}

// registryOf reads the argument REGISTRY[/NAMESPACE] by the rules for names of images.
func registryOf(c *cli.Context) (string, error) {
	if err := wants(c, 1, 1, "one registry"); err != nil {
		return "", err
	}
	arg := strings.TrimSuffix(strings.TrimPrefix(c.Args().First(), "https://"), "/")
	host, namespace, below := strings.Cut(arg, "/")
	// docker.io has several spellings. With a repository it can be parsed as an image's name.
	repository := "a/a"
	if below {
		repository = namespace
	}
	r, err := image.ParseReference("docker://"+host+"#"+repository, image.Rules{})
	if err != nil || r.Tag != "latest" || r.User != "" || r.Digest != "" {
		return "", usageError{fmt.Errorf("%s is not a registry", text.Printable(arg))}
	}
	if below {
		return r.Registry + "/" + r.Repository, nil
	}
	return r.Registry, nil
}

// secret reads a password, and drops the line break at its end.
func secret(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, secretMost+1))
	if err != nil {
		return "", err
	}
	if len(data) > secretMost {
		return "", fmt.Errorf("longer than %d bytes", secretMost)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

// ask asks at the terminal for user and password, and does not show the password.
func ask(ctx context.Context, user string) (string, string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", "", errNoTerminal
	}
	defer tty.Close()
	lines := bufio.NewReader(io.LimitReader(tty, 2*secretMost))
	if user == "" {
		fmt.Fprint(tty, "Username: ")
		if user, err = line(ctx, lines); err != nil {
			return "", "", err
		}
	}
	terminal, err := console.ConsoleFromFile(tty)
	if err != nil {
		return "", "", err
	}
	if err := terminal.DisableEcho(); err != nil {
		return "", "", err
	}
	// A signal cancels ctx and so ends the wait: echo is restored before the program exits.
	defer func() {
		_ = terminal.Reset()
		fmt.Fprintln(tty)
	}()
	fmt.Fprint(tty, "Password: ")
	password, err := line(ctx, lines)
	return user, password, err
}

// line reads a line, until the context ends.
func line(ctx context.Context, r *bufio.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := r.ReadString('\n')
		got <- answer{strings.TrimRight(line, "\r\n"), err}
	}()
	select {
	case a := <-got:
		return a.line, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
