//go:build integration

package images

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// A peer is another program that unpacks images. It works in a directory and prints where the root
// file system is.
type peer struct {
	title  string
	script string // for sh; $1 is the layout and $2 a directory for its work
	undo   string
}

const podman = `podman --root "$2/root" --runroot "$2/run" --tmpdir "$2/tmp" --storage-driver overlay `

var peers = []peer{
	{title: "podman", script: `id=$(` + podman + ` pull -q "oci:$1:1") && ` + podman + ` image mount "$id"`, undo: podman + ` image umount --all`},
	{title: "umoci", script: `umoci unpack --image "$1:1" "$2/bundle" >&2 && echo "$2/bundle/rootfs"`},
}

// peersTmp is where both we and the peers see files.
func peersTmp() string {
	if *peersRoot == "" {
		return ""
	}
	return filepath.Join(*peersRoot, "tmp")
}

// findPeers returns the peers and the versions that they have, in the root of -peers or on this
// host.
func findPeers(t *testing.T) (found []peer) {
	t.Helper()
	if *peersRoot != "" {
		for _, name := range []string{"proc", "sys", "dev"} {
			at := filepath.Join(*peersRoot, name)
			if err := syscall.Mount("/"+name, at, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if *report == "" && !pace.All() {
		return nil // what they do is no failure of ours
	}
	for _, p := range peers {
		out, err := p.run(t.Context(), p.title+" --version", "", "")
		if err != nil {
			if os.Getenv("CI") != "" || *report != "" {
				t.Fatal(err)
			}
			t.Logf("not compared with %s: %v", p.title, err)
			continue
		}
		words := strings.Fields(out)
		version, _, _ := strings.Cut(words[2], "+")
		p.title += " " + version
		found = append(found, p)
	}
	return found
}

// run runs a script where the peers are. Paths are given as we see them, and translated.
func (p peer) run(ctx context.Context, script, layout, work string) (string, error) {
	args := []string{"sh", "-c", script, "sh", strings.TrimPrefix(layout, *peersRoot), strings.TrimPrefix(work, *peersRoot)}
	if *peersRoot != "" {
		args = append([]string{"chroot", *peersRoot}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	return say(cmd)
}

// peer returns what a peer makes of an image, as the cell of the table.
func (c trial) peer(t *testing.T, p peer, layout string) string {
	t.Helper()
	ctx, cancel := pace.Context(t.Context(), 5*time.Minute)
	defer cancel()
	work := scratch(t, peersTmp())
	t.Cleanup(func() { // before the directory is removed: container engines leave mounts
		if p.undo != "" {
			_, _ = p.run(context.Background(), p.undo, layout, work)
		}
		_ = syscall.Unmount(filepath.Join(work, "root/overlay"), syscall.MNT_DETACH)
	})
	dir, err := p.run(ctx, p.script, layout, work)
	switch {
	case err != nil && c.fails != "":
		return "error"
	case err != nil:
		return "error: " + reason(err)
	}
	got := list(t, filepath.Join(*peersRoot, dir))
	if c.fails != "" {
		return fmt.Sprintf("unpacked: %d files", len(got))
	}
	wrong := got.differences(wanted(c.want))
	switch len(wrong) {
	case 0:
		return "right"
	case 1:
		return wrong[0]
	}
	return fmt.Sprintf("%s, and %d more", wrong[0], len(wrong)-1)
}

// reason is the end of a peer's error, without paths.
func reason(err error) string {
	text := err.Error()
	if _, rest, found := strings.Cut(text, `level=fatal msg="`); found {
		text = rest
	}
	var words []string
	for word := range strings.FieldsSeq(text) {
		if !strings.Contains(word, "/tmp/") && !strings.Contains(word, "sha256:") {
			words = append(words, strings.Trim(word, "\"\u2a2f"))
		}
	}
	const most = 80
	parts := strings.Split(strings.Join(words, " "), ": ")
	for len(parts) > 1 && (len(strings.Join(parts, ": ")) > most || strings.HasPrefix(parts[0], "exit status") || parts[0] == "Error") {
		parts = parts[1:]
	}
	text = oneLine(strings.TrimSpace(strings.Join(parts, ": ")))
	return text[:min(len(text), most)]
}
