package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A heldRegistry wants a password, and does not end to send an image's layer before the test does.
type heldRegistry struct {
	*httptest.Server
	asked chan struct{} // for the layer
}

const registryPassword = "correct-horse-battery"

func newHeldRegistry(t *testing.T) *heldRegistry {
	t.Helper()
	config := []byte(`{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("1", 64) + `"]}}`)
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%x","size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":1000000}]}`,
		sha256.Sum256(config), len(config), strings.Repeat("2", 64))
	h := &heldRegistry{asked: make(chan struct{}, 8)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		switch {
		case password != registryPassword:
			w.Header().Set("WWW-Authenticate", `Basic realm="held"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(r.URL.Path, "/manifests/"):
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256(manifest)))
			w.Header().Set("Content-Length", strconv.Itoa(len(manifest)))
			_, _ = w.Write(manifest)
		case strings.HasSuffix(r.URL.Path, fmt.Sprintf("%x", sha256.Sum256(config))):
			_, _ = w.Write(config)
		case strings.HasSuffix(r.URL.Path, strings.Repeat("2", 64)):
			w.Header().Set("Content-Length", "1000000")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			h.asked <- struct{}{}
			<-r.Context().Done()
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// Whatever a pull leaves for others to see while it runs, and what it leaves when it is killed,
// lacks the password: its arguments and environment, its memory, its output, the store.
func TestCredentialsStayInside(t *testing.T) {
	t.Parallel()
	registry := newHeldRegistry(t)
	home := t.TempDir()
	host := strings.TrimPrefix(registry.URL, "http://")
	auth := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("alice:"+registryPassword)))
	if err := os.WriteFile(filepath.Join(home, "auth.json"), []byte(auth), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(shared.program()+"-image", "--authfile", filepath.Join(home, "auth.json"),
		"--store", filepath.Join(home, "store"), "pull", host+"/a/b:1")
	cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin"}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-registry.asked:
	case err := <-ended:
		t.Fatalf("pull: %v: %s", err, &out)
	}
	proc := "/proc/" + strconv.Itoa(cmd.Process.Pid)
	for _, name := range []string{"cmdline", "environ"} {
		if data, err := os.ReadFile(filepath.Join(proc, name)); err == nil && bytes.Contains(data, []byte(registryPassword)) {
			t.Errorf("%s has the password", name)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(proc+"/mem", &st); err != nil || st.Uid != 0 { // as of a process that nobody may look into
		t.Errorf("the process's memory may be read, and dumped: %v, owner %d", err, st.Uid)
	}
	_ = cmd.Process.Signal(syscall.SIGABRT)
	if !wait(time.Minute, func() bool { return len(ended) > 0 }) {
		t.Error("SIGABRT does not end the pull")
		_ = cmd.Process.Kill()
	}
	if strings.Contains(out.String(), registryPassword) || strings.Contains(out.String(), base64.StdEncoding.EncodeToString([]byte("alice:"+registryPassword))) {
		t.Errorf("the output has the password:\n%s", &out)
	}
	if found, _ := exec.Command("grep", "-rl", registryPassword, filepath.Join(home, "store")).Output(); len(found) > 0 {
		t.Errorf("the store has the password: %s", found)
	}
}
