package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/layers"
	"github.com/ocishim/ocishim/internal/image/source"
	"github.com/ocishim/ocishim/internal/pace"
)

// herdVar makes the test's program an importer on a host of its own: HOST STORE URL AGE.
const herdVar = "OCISHIM_TEST_HERD"

// In the test leases expire sooner than in production, since each kill costs one such time.
const herdAge, herdRenewal = 3 * time.Second, 500 * time.Millisecond

// herdImporter imports the image of a registry as one of many hosts would: its host's name and pids are
// its own.
func herdImporter(words string) int {
	failed := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	parts := strings.Fields(words)
	host, path, url := parts[0], parts[1], parts[2]
	if err := unix.Sethostname([]byte(host)); err != nil {
		return failed(err)
	}
	s, err := Open(image.Place{Path: path, Owners: []int{os.Geteuid()}})
	if err != nil {
		return failed(err)
	}
	if s.leaseAge, err = time.ParseDuration(parts[3]); err != nil {
		return failed(err)
	}
	s.renewal = herdRenewal
	src := herdImage()
	have := func() bool {
		i, err := s.Store.Open(src.Digest, image.Tree)
		return err == nil && i.Close() == nil
	}
	turn, err := s.Turn(context.Background(), src.Digest, "", nil, have)
	if err != nil {
		return failed(err)
	}
	if turn == nil {
		return 0
	}
	for i := range src.Layers {
		src.Layers[i].Open = func(ctx context.Context) (io.ReadCloser, error) {
			return fetch(ctx, fmt.Sprintf("%s/layer%d", url, i))
		}
	}
	config, err := fetch(context.Background(), url+"/config")
	if err == nil {
		err = config.Close()
	}
	if err != nil {
		return failed(err)
	}
	i, err := s.Import(context.Background(), src, Options{Format: image.Tree, Limits: layers.DefaultLimits(), Turn: turn})
	if err != nil {
		return failed(err)
	}
	if err := errors.Join(i.Close(), turn.End()); err != nil {
		return failed(err)
	}
	return 0
}

func fetch(ctx context.Context, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func herdImage() *source.Source { return sample(300) }

// A herd is a registry and the hosts that ask it.
type herd struct {
	t     *testing.T
	store string
	url   string

	mu       sync.Mutex
	requests map[string]int
	hosts    map[string]*exec.Cmd
}

func newHerd(t *testing.T, store string) *herd {
	h := &herd{t: t, store: store, requests: map[string]int{}}
	blobs := map[string][]byte{"/config": []byte("{}")}
	for i, l := range herdImage().Layers {
		r, err := l.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if blobs[fmt.Sprintf("/layer%d", i)], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.requests[r.URL.Path]++
		h.mu.Unlock()
		for piece := range slices.Chunk(blobs[r.URL.Path], 64<<10) { // slowly, so that a kill finds it at work
			if _, err := w.Write(piece); err != nil {
				return
			}
			pace.Pause(5 * time.Millisecond)
		}
	}))
	t.Cleanup(web.Close)
	h.url = web.URL
	return h
}

// start starts an importer on each of n hosts.
func (h *herd) start(n int) {
	h.t.Helper()
	h.hosts = map[string]*exec.Cmd{}
	for i := range n {
		host := fmt.Sprintf("host%d", i)
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), herdVar+"="+host+" "+h.store+" "+h.url+" "+pace.Of(herdAge).String())
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Cloneflags: unix.CLONE_NEWUTS | unix.CLONE_NEWPID}
		if id := os.Geteuid(); id != 0 {
			cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		}
		if err := cmd.Start(); err != nil {
			h.t.Fatal(err)
		}
		h.hosts[host] = cmd
	}
}

// kill kills the host that has its turn, if there is one.
func (h *herd) kill(s *Store, entry string, killed map[string]bool) {
	data, err := s.root.ReadFile(filepath.Join(image.LeasesDir, entry))
	if err != nil {
		return
	}
	for host, cmd := range h.hosts {
		if strings.Contains(string(data), `"host":"`+host+`"`) && !killed[host] {
			killed[host] = true
			_ = cmd.Process.Kill()
		}
	}
}

// wait waits for all importers, of which only the killed may fail.
func (h *herd) wait(killed map[string]bool) {
	h.t.Helper()
	for host, cmd := range h.hosts {
		if err := cmd.Wait(); err != nil && !killed[host] {
			h.t.Errorf("%s: %v", host, err)
		}
	}
}

// Of 64 hosts that start an image at once, one asks the registry. If it is killed, another does, and
// removes what the first left. Each blob is asked for once, and at most once more for each kill.
func TestHerd(t *testing.T) {
	rounds := 1
	if pace.All() {
		rounds = 50
	}
	if os.Geteuid() != 0 && exec.Command("unshare", "--user", "--uts", "--pid", "--fork", "true").Run() != nil {
		t.Skip("user namespaces are not allowed here")
	}
	p := place(t)
	s := open(t, p)
	h := newHerd(t, p.Path)
	digest := herdImage().Digest
	hex, _ := digest.Hex()
	interrupted := 0
	// An import may be over before it is killed.
	for round := 0; round < rounds || interrupted == 0 && round < rounds+5; round++ {
		if err := s.Remove(digest); err != nil && !errors.Is(err, image.ErrNotFound) {
			t.Fatal(err)
		}
		h.mu.Lock()
		clear(h.requests)
		h.mu.Unlock()
		h.start(64)
		killed := map[string]bool{}
		for range (round + 1) % 3 { // one kill, two, none
			before := len(killed)
			pace.Until(time.Minute, func() bool {
				if _, err := s.Store.Open(digest, image.Tree); err == nil {
					return true
				}
				if len(killed) == before && rand.IntN(8) == 0 {
					h.kill(s, hex+".source", killed)
				}
				return len(killed) > before
			})
		}
		h.wait(killed)
		interrupted += len(killed)
		h.check(s, digest, round, killed)
	}
	if interrupted == 0 {
		t.Error("no importer was killed: the test checks too little")
	}
	s.halfAge = 0 // as after an hour
	if err := s.sweep(); err != nil {
		t.Error(err)
	}
	if names := left(t, s); len(names) > 0 {
		t.Errorf("left at the end: %v", names)
	}
	t.Logf("%d rounds, %d importers killed", rounds, interrupted)
}

func (h *herd) check(s *Store, digest image.Digest, round int, killed map[string]bool) {
	h.t.Helper()
	kills := len(killed)
	h.mu.Lock()
	requests := maps.Clone(h.requests)
	h.mu.Unlock()
	for _, blob := range []string{"/config", "/layer0", "/layer1"} {
		if n := requests[blob]; n < 1 || n > 1+kills {
			h.t.Errorf("round %d: %s was asked for %d times, with %d kills", round, blob, n, kills)
		}
	}
	i, err := s.Store.Open(digest, image.Tree)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := errors.Join(Verify(i), i.Close()); err != nil {
		h.t.Error(err)
	}
	for _, name := range left(h.t, s) {
		// Halves of small files, and the lease of who was killed after it had published: see the end.
		if !strings.Contains(name, ".new.") && !h.heldBy(s, name, killed) {
			h.t.Errorf("round %d: left: %s", round, name)
		}
	}
}

// heldBy reports whether the file is a lease of one of the hosts.
func (h *herd) heldBy(s *Store, name string, hosts map[string]bool) bool {
	data, err := s.root.ReadFile(name)
	if err != nil || !strings.HasPrefix(name, image.LeasesDir) {
		return false
	}
	for host := range hosts {
		if strings.Contains(string(data), `"host":"`+host+`"`) {
			return true
		}
	}
	return false
}
