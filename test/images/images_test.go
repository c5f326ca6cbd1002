//go:build integration

package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

const architecture = runtime.GOARCH

var (
	report    = flag.String("report", "", "write the table of odd images to this file")
	peersRoot = flag.String("peers", "", "take the other programs from this root file system; needs a mount namespace of its own")
)

// user is who imports: nobody who has rights.
const user = 4321

var repo = filepath.Join("..", "..")

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if repo, err = filepath.Abs(repo); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// needRoot skips a test without root. In CI that is a failure.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test needs root")
	}
	t.Skip("only root can unpack devices and owners, as the comparison needs")
}

// scratch makes a directory that everyone may enter.
func scratch(t *testing.T, parent string) string {
	t.Helper()
	dir, err := os.MkdirTemp(parent, "images")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A host is a user with a home and a store.
type host struct{ home, store string }

func newHost(t *testing.T) host {
	t.Helper()
	home := scratch(t, "")
	if err := os.Chown(home, user, user); err != nil {
		t.Fatal(err)
	}
	return host{home, filepath.Join(home, "store")}
}

// image is a call of ocishim-image by the user.
func (h host) image(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(repo, "build/bin/ocishim-image"), append([]string{"--store", h.store}, args...)...)
	cmd.Dir = h.home
	cmd.Env = []string{"HOME=" + h.home, "PATH=/usr/bin:/bin", "TMPDIR=" + h.home}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return cmd
}

// say runs a command and returns its output; of one that fails, the last line of its errors.
func say(cmd *exec.Cmd) (string, error) {
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(said.String())
		for line := range strings.Lines(text) {
			if strings.Contains(strings.ToLower(line), "error") { // hints may follow
				text = line
			}
		}
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(text))
	}
	return strings.TrimSpace(out.String()), nil
}

// imported imports the layout and lists what the store has then.
func (h host) imported(t *testing.T, layout, format string) (listing, error) {
	t.Helper()
	ctx, cancel := pace.Context(t.Context(), 5*time.Minute)
	defer cancel()
	digest, err := say(h.image(ctx, "pull", "--format", format, "oci:"+layout+":1"))
	if err != nil {
		return nil, err
	}
	out, err := say(h.image(ctx, "inspect", digest))
	if err != nil {
		t.Fatal(err)
	}
	var record struct{ Path string }
	if err := json.Unmarshal([]byte(out), &record); err != nil {
		t.Fatal(err)
	}
	if out, err := say(h.image(ctx, "verify", digest)); err != nil {
		t.Errorf("verify: %v: %s", err, out)
	}
	dir := record.Path
	if format == "sqfs" {
		dir = filepath.Join(scratch(t, ""), "unpacked")
		// another program than ocishim reads it, so that no mistake hides another
		if _, err := say(exec.CommandContext(ctx, "unsquashfs", "-no-progress", "-quiet", "-d", dir, record.Path)); err != nil {
			t.Fatal(err)
		}
	}
	return list(t, dir), nil
}

// Odd images become what they should, in both formats. With -report, a table compares that with what
// other programs make of them.
func TestOddImages(t *testing.T) {
	needRoot(t)
	others := findPeers(t)
	head := []string{"image", "right", "ocishim, tree", "ocishim, sqfs"}
	for _, p := range others {
		head = append(head, p.title)
	}
	all := trials()
	rows := append(make([][]string, 0, len(all)+1), head)
	t.Run("images", func(t *testing.T) {
		for _, c := range all {
			rows = append(rows, nil)
			at := &rows[len(rows)-1]
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				layout := filepath.Join(scratch(t, peersTmp()), "layout")
				c.layout(t, layout)
				row := []string{c.name, c.right, c.as(t, layout, "tree"), c.as(t, layout, "sqfs")}
				for _, p := range others {
					row = append(row, c.peer(t, p, layout))
				}
				*at = row
			})
		}
	})
	if *report != "" {
		if err := os.WriteFile(*report, []byte(table(rows)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// as imports an image in one format and compares. It returns the cell of the table.
func (c trial) as(t *testing.T, layout, format string) string {
	t.Helper()
	h := newHost(t)
	got, err := h.imported(t, layout, format)
	if c.fails != "" {
		if err == nil || !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v, want an error with %q", format, err, c.fails)
		}
		for _, dir := range []string{"images/sha256", "tmp", "leases"} {
			if left, err := os.ReadDir(filepath.Join(h.store, dir)); len(left) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: left in %s: %v, %v", format, dir, left, err)
			}
		}
		return "right"
	}
	if err != nil {
		t.Errorf("%s: %v", format, err)
		return "error"
	}
	want := wanted(c.want)
	var lost []string
	if format == "tree" {
		want, lost = want.asTree()
		for at, m := range got {
			m.uid, m.gid, m.mode = m.uid-user, m.gid-user, m.mode&0o7777
			if m.class() == 0 {
				m.mode = 0
			}
			got[at] = m
		}
	} else {
		var without map[string]bool
		want, without = want.withoutCapabilities()
		for what := range without {
			lost = append(lost, what)
		}
	}
	if wrong := got.differences(want); len(wrong) > 0 {
		t.Errorf("%s: %q", format, wrong)
		return "wrong"
	}
	if len(lost) > 0 {
		return "right; no " + strings.Join(lost, ", ")
	}
	return "right"
}

func table(rows [][]string) string {
	var out strings.Builder
	for i, row := range rows {
		for j := range row {
			row[j] = strings.ReplaceAll(row[j], "|", `\|`)
		}
		fmt.Fprintf(&out, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&out, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	return out.String()
}

// sparse returns an archive in which GNU tar keeps only the data of a file with holes.
func sparse(dir string) []byte {
	f, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		panic(err)
	}
	_, err = f.WriteAt([]byte("begin"), 0)
	_, err2 := f.WriteAt([]byte("end"), sparseSize-3)
	if err := errors.Join(err, err2, f.Chmod(0o644), f.Close()); err != nil {
		panic(err)
	}
	out, err := exec.Command("tar", "-C", dir, "--format=posix", "--owner=0", "--group=0", "-cS", "hole").Output()
	if err != nil {
		panic(err)
	}
	return out
}
