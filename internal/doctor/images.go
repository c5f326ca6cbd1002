package doctor

import (
	"strings"
)

func imageChecks() []Check {
	return []Check{
		{"fuse", "images that are one file", fuse},
		{"overlay", "images that can be changed", overlay},
		{"registry", "what pulling images needs", registry},
	}
}

func fuse(p *Patient) []Finding {
	err := p.Do("fuse")
	if err == nil {
		return ok("user " + p.User + " can mount FUSE file systems: images that are one file start without being unpacked")
	}
	fix := "modprobe fuse at boot"
	if info, statErr := p.stat("/dev/fuse"); statErr == nil && info.Mode&0o006 != 0o006 {
		fix = "chmod 666 /dev/fuse, and a udev rule or tmpfiles.d line `z /dev/fuse 0666`"
	}
	return found(Warn, "user "+p.User+" cannot mount FUSE file systems: "+err.Error()+"; images that are one file are unpacked", fix)
}

func overlay(p *Patient) []Finding {
	if err := p.Do("overlay"); err != nil {
		return found(Warn, "user "+p.User+" cannot mount an overlay: "+err.Error()+"; images stay read-only", "Linux 5.11 or newer, 6.6 for changes in memory")
	}
	return ok("user " + p.User + " can mount overlays")
}

// registry looks at what a pull depends on without asking a registry.
func registry(p *Patient) []Finding {
	bundles := []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}
	certified := false
	for _, path := range bundles {
		certified = certified || p.Host.IsFile(path)
	}
	var findings []Finding
	if !certified {
		findings = append(findings, Finding{
			Status: Warn, What: "this host has no bundle of CA certificates: registries with TLS cannot be asked from here",
			Fix: "install ca-certificates, or pull images on a login host",
		})
	}
	if data, err := p.Host.ReadFile("/etc/resolv.conf"); err != nil || !strings.Contains(string(data), "nameserver") {
		findings = append(findings, Finding{Status: Warn, What: "/etc/resolv.conf names no server: registries are not found from here", Fix: "pull images on a login host"})
	}
	if len(findings) == 0 {
		return ok("certificates and name servers for registries are there")
	}
	return findings
}
