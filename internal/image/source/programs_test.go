package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/credentials"
	"github.com/ocishim/ocishim/internal/image/registry"
	"github.com/ocishim/ocishim/internal/pace"
)

// program finds a program that the test needs. Without it the test is skipped, except in CI.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// execute runs a program to its end.
func execute(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := pace.Context(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, args[0]), args[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// startRegistry starts distribution's registry. With htpasswd it requires a user.
func startRegistry(t *testing.T, htpasswd string) string {
	t.Helper()
	binary := program(t, "docker-registry")
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	listener.Close() //nolint:errcheck // the registry takes its place
	config := "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: " + dir + "/data}}\nhttp: {addr: '" + host + "'}\n"
	if htpasswd != "" {
		if err := os.WriteFile(filepath.Join(dir, "htpasswd"), []byte(htpasswd), 0o600); err != nil {
			t.Fatal(err)
		}
		config += "auth: {htpasswd: {realm: x, path: " + dir + "/htpasswd}}\n"
	}
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve", file)
	var says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &says, &says
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // it was killed
	})
	if !pace.Until(10*time.Second, func() bool {
		response, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			response.Body.Close() //nolint:errcheck // only its coming counts
		}
		return err == nil
	}) {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // it was killed
		t.Fatalf("the registry does not start:\n%s", &says)
	}
	return host
}

// Every format that skopeo writes, and a real registry's copy, is the same image.
func TestSkopeo(t *testing.T) {
	program(t, "skopeo")
	b := newBuilder(t)
	b.write(map[string]map[string]any{"1": b.image("linux/amd64")})
	host, dir := startRegistry(t, ""), t.TempDir()
	client, err := registry.New(registry.Options{Environment: credentials.Environment{Home: dir}, Etc: dir})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{
		"docker://" + host + "/a/b:1", "oci:" + dir + "/layout:1", "oci-archive:" + dir + "/oci.tar:1",
		"docker-archive:" + dir + "/docker.tar:a/b:1", "dir:" + dir + "/dir",
	} {
		execute(t, "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+b.dir+":1", to)
		r, err := image.ParseReference(to, image.Rules{})
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		s, err := Open(context.Background(), r, Options{Platform: amd64, Registry: client, TempDir: dir})
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		if got := unpacked(t, s); got != "etc/platform=linux/amd64" || s.Config.Env[0] != "PLATFORM=linux/amd64" || s.Private {
			t.Errorf("%s: %s, %+v", to, got, s.Config)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{"oci.tar", "docker.tar"} {
		if s, err := Open(context.Background(), image.Reference{Kind: image.KindArchive, Path: filepath.Join(dir, path)}, Options{Platform: amd64}); err != nil || unpacked(t, s) != "etc/platform=linux/amd64" {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// An image in a real registry with a password opens with the password, and is private. Opening it
// again requests no manifest that a store has.
func TestPrivate(t *testing.T) {
	program(t, "skopeo")
	// user a, password s3cret
	host := startRegistry(t, "a:$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n")
	b, home := newBuilder(t), t.TempDir()
	b.write(map[string]map[string]any{"1": b.image("linux/amd64")})
	execute(t, "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds=a:s3cret", "oci:"+b.dir+":1", "docker://"+host+"/x:1")
	e := credentials.Environment{Home: home}
	open := func(o Options) (*Source, error) {
		client, err := registry.New(registry.Options{Environment: e, Etc: home})
		if err != nil {
			t.Fatal(err)
		}
		r, err := image.ParseReference(host+"/x:1", image.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		o.Platform, o.Registry = amd64, client
		return Open(context.Background(), r, o)
	}
	if _, err := open(Options{}); !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), "anonymous; no entry for "+host) {
		t.Errorf("%v", err)
	}
	if _, err := e.Login(host, "a", "s3cret"); err != nil {
		t.Fatal(err)
	}
	s, err := open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Private || unpacked(t, s) != "etc/platform=linux/amd64" {
		t.Errorf("%+v", s)
	}
	var asked []image.Digest
	kept := func(d image.Digest) []byte {
		asked = append(asked, d)
		if d == s.Digest {
			return s.RawManifest
		}
		return bytes.Clone(s.RawManifest) // wrong answers of a store are ignored
	}
	if again, err := open(Options{Kept: kept}); err != nil || again.Digest != s.Digest || !bytes.Equal(again.RawConfig, s.RawConfig) || len(asked) != 2 {
		t.Errorf("%+v, %v, asked for %q", again, err, asked)
	}
}

// A SIF file opens from a registry, and each of the two schemes names the other if that is needed.
func TestOpenSIF(t *testing.T) {
	program(t, "skopeo")
	b, host, dir := newBuilder(t), startRegistry(t, ""), t.TempDir()
	sif := apptainerSIF(t)
	artifact := b.json(types.OCIManifestSchema1, map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1,
		"config": b.blob("application/vnd.sylabs.sif.config.v1+json", []byte("{}")),
		"layers": []any{b.blob("application/vnd.sylabs.sif.layer.v1.sif", sif)},
	})
	b.write(map[string]map[string]any{"sif": artifact, "image": b.image("linux/amd64")})
	for _, tag := range []string{"sif", "image"} {
		execute(t, "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+b.dir+":"+tag, "docker://"+host+"/x:"+tag)
	}
	client, err := registry.New(registry.Options{Environment: credentials.Environment{Home: dir}, Etc: dir})
	if err != nil {
		t.Fatal(err)
	}
	reference := func(kind image.Kind, tag string) image.Reference {
		return image.Reference{Kind: kind, Registry: host, Repository: "x", Tag: tag}
	}
	o := Options{Platform: amd64, Registry: client}
	s, err := OpenSIF(context.Background(), reference(image.KindORAS, "sif"), o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.File.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // only read from
	if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, sif) || s.Private || string(s.Digest) != artifact["digest"] {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := OpenSIF(context.Background(), reference(image.KindORAS, "image"), o); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "docker://, not oras://") {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := Open(context.Background(), reference(image.KindRegistry, "sif"), o); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "oras://, not docker://") {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestEngines(t *testing.T) {
	e := credentials.Environment{Env: []string{"PATH=/nonexistent", "DOCKER_HOST=unix:///nonexistent/docker.sock"}}
	for _, kind := range []image.Kind{image.KindDockerDaemon, image.KindContainersStorage} {
		if s, err := Open(context.Background(), image.Reference{Kind: kind, Name: "x:1"}, Options{Environment: e, TempDir: t.TempDir()}); !errors.Is(err, ErrEngine) || !strings.Contains(err.Error(), "save -o FILE x:1") {
			t.Errorf("%s: %+v, %v", kind, s, err)
		}
	}
	// A fake daemon answers like Docker's, with an archive that skopeo wrote.
	program(t, "skopeo")
	b, dir := newBuilder(t), t.TempDir()
	b.write(map[string]map[string]any{"1": b.image("linux/amd64")})
	execute(t, "skopeo", "--insecure-policy", "copy", "oci:"+b.dir+":1", "docker-archive:"+dir+"/docker.tar:x:1")
	listener, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()                                                                  //nolint:errcheck // the test is over
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:errcheck // ends with the listener
		if r.URL.Path != "/images/x:1/get" {
			http.Error(w, `{"message":"No such image"}`, http.StatusNotFound)
			return
		}
		http.ServeFile(w, r, filepath.Join(dir, "docker.tar"))
	}))
	e.Env = []string{"DOCKER_HOST=unix://" + dir + "/sock"}
	s, err := Open(context.Background(), image.Reference{Kind: image.KindDockerDaemon, Name: "x:1"}, Options{Platform: amd64, Environment: e, TempDir: dir})
	if err != nil || unpacked(t, s) != "etc/platform=linux/amd64" {
		t.Errorf("%v", err)
	}
	if _, err := Open(context.Background(), image.Reference{Kind: image.KindDockerDaemon, Name: "y:1"}, Options{Environment: e, TempDir: dir}); !errors.Is(err, ErrEngine) || !strings.Contains(err.Error(), "No such image") {
		t.Errorf("%v", err)
	}
}

// An image that was copied into Podman's store opens from there.
func TestPodman(t *testing.T) {
	program(t, "skopeo")
	podman := program(t, "podman")
	b, dir := newBuilder(t), t.TempDir()
	b.write(map[string]map[string]any{"1": b.image("linux/amd64")})
	execute(t, "skopeo", "--insecure-policy", "copy", "oci:"+b.dir+":1", "docker-archive:"+dir+"/docker.tar:localhost/x:1")
	// A wrapper makes podman use the test's own store.
	wrapper := filepath.Join(dir, "podman")
	script := "#!/bin/sh\nexec " + podman + " --root " + dir + "/root --runroot " + dir + "/run --storage-driver vfs \"$@\"\n"
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := pace.Context(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, wrapper, "load", "-q", "-i", dir+"/docker.tar").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("podman load: %v\n%s", err, out)
		}
		t.Skipf("podman load: %v\n%s", err, out)
	}
	e := credentials.Environment{Env: []string{"PATH=" + dir + ":/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + dir}}
	s, err := Open(context.Background(), image.Reference{Kind: image.KindContainersStorage, Name: "localhost/x:1"}, Options{Platform: amd64, Environment: e, TempDir: dir})
	if err != nil || unpacked(t, s) != "etc/platform=linux/amd64" {
		t.Fatalf("%v", err)
	}
	if _, err := Open(context.Background(), image.Reference{Kind: image.KindContainersStorage, Name: "localhost/none:1"}, Options{Environment: e, TempDir: dir}); !errors.Is(err, ErrEngine) {
		t.Errorf("%v", err)
	}
}
