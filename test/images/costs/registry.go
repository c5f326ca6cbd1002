package main

import (
	"archive/tar"
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// A served image is in a registry on this machine.
type served struct {
	reference     string
	layers, files int
	bytes, packed int64
}

const (
	address = "localhost:5443"
	data    = "/registry" // a tmpfs
)

// serveImage makes the image, starts a registry with TLS and pushes the image.
func serveImage(source string) (im served, stop func(), err error) {
	if err := certificate(); err != nil {
		return im, nil, err
	}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: '%s', tls: {certificate: %s/cert, key: %s/key}}\n", data, address, data, data)
	if err := os.WriteFile(data+"/config.yml", []byte(config), 0o600); err != nil {
		return im, nil, err
	}
	server := exec.Command("/registry/docker-registry", "serve", data+"/config.yml")
	log, err := os.Create(data + "/log") // it calls every question for a blob that is missing an error
	if err != nil {
		return im, nil, err
	}
	defer log.Close()
	server.Stderr = log
	if err := server.Start(); err != nil {
		return im, nil, err
	}
	stop = func() { _ = server.Process.Kill(); _ = server.Wait() }
	if im, err = makeImage(source, data+"/layout"); err == nil {
		err = listens()
	}
	if err == nil {
		push := exec.Command("skopeo", "copy", "-q", "oci:"+data+"/layout:1", "docker://"+im.reference)
		push.Stderr = os.Stderr
		err = push.Run()
	}
	return im, stop, errors.Join(err, os.RemoveAll(data+"/layout"))
}

func listens() error {
	for range 100 {
		if c, err := tls.Dial("tcp", address, nil); err == nil {
			return c.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("no registry at %s", address)
}

// certificate makes a certificate for the registry and lets everything here trust it.
func certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(
		os.WriteFile(data+"/cert", cert, 0o644),
		os.WriteFile(data+"/key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600),
	); err != nil {
		return err
	}
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	all, err := os.ReadFile(bundle)
	if err != nil {
		return err
	}
	if err := os.WriteFile(data+"/all", append(all, cert...), 0o644); err != nil {
		return err
	}
	return unix.Mount(data+"/all", bundle, "", unix.MS_BIND, "") // the root file system itself stays as it is
}

const (
	layerCount  = 10
	smallFiles  = 3000
	smallMost   = 16 << 10
	bigBytes    = 200 << 20
	layerBudget = 23 << 20 // of what the Debian has, in nine layers
)

// skipped is what the image does not need of a Debian.
var skipped = []string{
	"dev", "proc", "sys", "run", "tmp", "boot", "var/lib", "var/cache", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/perl",
	"usr/sbin/dockerd", "usr/bin/docker", "usr/bin/containerd", "usr/bin/ctr", "usr/bin/rootlesskit",
}

// A maker makes the layers of the image.
type maker struct {
	im     *served
	layout string
	layers []object
	diffs  []string
	small  []string

	file   *os.File
	zip    *gzip.Writer
	buffer *bufio.Writer
	sum    interface{ Sum([]byte) []byte }
	tar    *tar.Writer
	size   int64
}

type object = map[string]any

// makeImage makes a layout with an image of a Debian's files, in their order, in ten layers; the last
// has the files that are read: a list of small ones, and one of 200 MB.
func makeImage(source, layout string) (im served, err error) {
	im = served{reference: address + "/debian:1", layers: layerCount}
	m := &maker{im: &im, layout: layout}
	if err := os.MkdirAll(layout+"/blobs/sha256", 0o755); err != nil {
		return im, err
	}
	if err := m.begin(); err != nil {
		return im, err
	}
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, source+"/")
		if err != nil || path == source {
			return err
		}
		for _, s := range skipped {
			if name == s && d.IsDir() {
				return fs.SkipDir
			} else if name == s {
				return nil
			}
		}
		return m.add(path, name, d)
	})
	if err != nil {
		return im, err
	}
	program, err := os.Open(filepath.Join(source, "usr/sbin/dockerd"))
	if err != nil {
		return im, err
	}
	defer program.Close()
	again := func() io.Reader { return io.NewSectionReader(program, 0, 1<<40) }
	big := io.MultiReader(again(), again(), again(), again(), again())
	err = errors.Join(
		m.put(&tar.Header{Name: "list", Size: int64(len(strings.Join(m.small, "\n")) + 1), Mode: 0o644}, strings.NewReader(strings.Join(m.small, "\n")+"\n")),
		m.put(&tar.Header{Name: "big", Size: bigBytes, Mode: 0o644}, io.LimitReader(big, bigBytes)),
		m.end(),
	)
	if err != nil {
		return im, err
	}
	return im, m.write()
}

func (m *maker) add(path, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	target := ""
	if info.Mode().Type() == fs.ModeSymlink {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	if t := info.Mode().Type(); t != 0 && t != fs.ModeDir && t != fs.ModeSymlink {
		return nil
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name = name
	if info.IsDir() {
		h.Name += "/"
	}
	if m.size > layerBudget && len(m.layers) < layerCount-1 {
		if err := errors.Join(m.end(), m.begin()); err != nil {
			return err
		}
	}
	if !info.Mode().IsRegular() {
		return m.put(h, nil)
	}
	if info.Size() > 0 && info.Size() <= smallMost && len(m.small) < smallFiles && !strings.ContainsAny(name, " '\"\\") && info.Mode()&0o004 != 0 {
		m.small = append(m.small, "/"+name)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return m.put(h, f)
}

func (m *maker) put(h *tar.Header, content io.Reader) error {
	if err := m.tar.WriteHeader(h); err != nil {
		return err
	}
	m.im.files++
	m.size += h.Size
	m.im.bytes += h.Size
	if content == nil {
		return nil
	}
	_, err := io.Copy(m.tar, content)
	return err
}

func (m *maker) begin() (err error) {
	if m.file, err = os.Create(m.layout + "/layer"); err != nil {
		return err
	}
	m.buffer = bufio.NewWriterSize(m.file, 1<<20)
	m.zip = gzip.NewWriter(m.buffer)
	sum := sha256.New()
	m.sum, m.size = sum, 0
	m.tar = tar.NewWriter(io.MultiWriter(m.zip, sum))
	return nil
}

func (m *maker) end() error {
	if err := errors.Join(m.tar.Close(), m.zip.Close(), m.buffer.Flush(), m.file.Close()); err != nil {
		return err
	}
	m.diffs = append(m.diffs, "sha256:"+hex.EncodeToString(m.sum.Sum(nil)))
	data, err := os.ReadFile(m.layout + "/layer")
	if err != nil {
		return err
	}
	m.im.packed += int64(len(data))
	layer, err := m.blob("application/vnd.oci.image.layer.v1.tar+gzip", data)
	m.layers = append(m.layers, layer)
	return errors.Join(err, os.Remove(m.layout+"/layer"))
}

func (m *maker) blob(media string, data []byte) (object, error) {
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	return object{"mediaType": media, "digest": "sha256:" + name, "size": len(data)}, os.WriteFile(m.layout+"/blobs/sha256/"+name, data, 0o644)
}

// write writes the configuration, the manifest and the index.
func (m *maker) write() error {
	m.im.layers = len(m.layers)
	history := []object{} // Charliecloud insists on it
	for range m.diffs {
		history = append(history, object{"created_by": "costs"})
	}
	config, err := json.Marshal(object{
		"os": "linux", "architecture": runtime.GOARCH, "config": object{"Env": []string{"PATH=/usr/bin:/bin"}, "Cmd": []string{"sh"}}, "history": history,
		"rootfs": object{"type": "layers", "diff_ids": m.diffs},
	})
	if err != nil {
		return err
	}
	c, err := m.blob("application/vnd.oci.image.config.v1+json", config)
	if err != nil {
		return err
	}
	const media = "application/vnd.oci.image.manifest.v1+json"
	manifest, err := json.Marshal(object{"schemaVersion": 2, "mediaType": media, "config": c, "layers": m.layers})
	if err != nil {
		return err
	}
	d, err := m.blob(media, manifest)
	if err != nil {
		return err
	}
	d["annotations"] = object{"org.opencontainers.image.ref.name": "1"}
	index, err := json.Marshal(object{"schemaVersion": 2, "manifests": []any{d}})
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(m.layout+"/index.json", index, 0o644),
		os.WriteFile(m.layout+"/oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644),
	)
}
