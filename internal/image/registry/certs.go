package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ocishim/ocishim/internal/image/credentials"
	"github.com/ocishim/ocishim/internal/text"
)

// tlsConfig reads certs.d/HOST of Podman and Docker: *.crt are certificate authorities, which are
// added to the host's own; *.cert with *.key are client certificates. Only the first directory
// that exists is used (containers-certs.d(5)).
func tlsConfig(e credentials.Environment, etc string, ep endpoint) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: ep.insecure}
	var dirs []string
	if own := e.Config(); own != "" {
		dirs = append(dirs, filepath.Join(own, "containers", "certs.d"))
	}
	dirs = append(dirs, filepath.Join(etc, "containers", "certs.d"), filepath.Join(etc, "docker", "certs.d"))
	for _, dir := range dirs {
		dir = filepath.Join(dir, ep.host)
		files, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read certificates for %s: %w", ep.host, err)
		}
		for _, f := range files {
			if err := addCertificate(config, dir, f.Name()); err != nil {
				return nil, fmt.Errorf("read certificates for %s: %w", ep.host, err)
			}
		}
		break
	}
	return config, nil
}

func addCertificate(config *tls.Config, dir, name string) error {
	path := filepath.Join(dir, name)
	switch filepath.Ext(name) {
	case ".crt":
		pem, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if config.RootCAs == nil {
			if config.RootCAs, err = x509.SystemCertPool(); err != nil {
				config.RootCAs = x509.NewCertPool()
			}
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: it contains no certificate", text.Whole(path))
		}
	case ".cert":
		pair, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key")
		if err != nil {
			return err
		}
		config.Certificates = append(config.Certificates, pair)
	}
	return nil
}
