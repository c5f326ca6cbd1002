package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/text"
)

// maxSaved is the most that an engine may save, in bytes.
const maxSaved = 1 << 40

// ErrEngine says that Docker or Podman on this host cannot save the image. Most compute nodes
// have neither.
var ErrEngine = errors.New("no image from the engine")

// fromEngine makes Docker or Podman save an image.
func fromEngine(ctx context.Context, r image.Reference, o Options) (*tarFile, error) {
	save := saveByDocker
	if r.Kind == image.KindContainersStorage {
		save = saveByPodman
	}
	f, err := spool(o.TempDir, func(w io.Writer) error { return save(ctx, bound(w), r.Name, o) })
	if err != nil {
		return nil, err
	}
	return indexTar(ctx, f)
}

// bound returns a writer that fails beyond maxSaved bytes.
func bound(w io.Writer) io.Writer { return &bounded{w, maxSaved} }

type bounded struct {
	io.Writer
	left int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrMalformed, int64(maxSaved))
	}
	return b.Writer.Write(p)
}

// saveByDocker asks the daemon at its socket (Docker Engine API, ImageGet).
func saveByDocker(ctx context.Context, w io.Writer, name string, o Options) error {
	socket, err := dockerSocket(o)
	if err != nil {
		return err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		ResponseHeaderTimeout: time.Minute,
		DisableKeepAlives:     true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/images/"+url.PathEscape(name)+"/get", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return fmt.Errorf("%w: Docker at %s: %w; on a host where it runs: docker save -o FILE %s", ErrEngine, text.Whole(socket), err, name)
	}
	defer response.Body.Close() //nolint:errcheck // only read from
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		return fmt.Errorf("%w: Docker at %s: %s: %s", ErrEngine, text.Whole(socket), response.Status, text.Printable(strings.TrimSpace(string(said))))
	}
	_, err = io.Copy(w, response.Body)
	return err
}

// dockerSocket returns the socket in DOCKER_HOST, or the one of the host's daemon.
func dockerSocket(o Options) (string, error) {
	host := o.Environment.Getenv("DOCKER_HOST")
	if host == "" {
		return "/var/run/docker.sock", nil
	}
	socket, is := strings.CutPrefix(host, "unix://")
	if !is || !filepath.IsAbs(socket) {
		return "", fmt.Errorf("%w: DOCKER_HOST is %s; only unix:///PATH is supported", ErrEngine, text.Printable(host))
	}
	return socket, nil
}

// saveByPodman executes podman as the user: only the user may read Podman's store.
func saveByPodman(ctx context.Context, w io.Writer, name string, o Options) error {
	program, err := o.Environment.Program("podman")
	if err != nil {
		return fmt.Errorf("%w: podman: %w; on a host where it runs: podman save -o FILE %s", ErrEngine, err, name)
	}
	cmd := exec.CommandContext(ctx, program, "save", "--quiet", "--format", "docker-archive", "--", name)
	cmd.Env, cmd.WaitDelay = o.Environment.Env, time.Second
	said := &tail{}
	cmd.Stdout, cmd.Stderr = w, said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: podman save %s: %w: %s", ErrEngine, name, err, text.Printable(strings.TrimSpace(said.String())))
	}
	return nil
}

// A tail keeps the end of what a program prints.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	if t.Len()+len(p) > 2*most {
		t.Next(max(0, t.Len()-most))
		return len(p), nil
	}
	return t.Buffer.Write(p)
}
