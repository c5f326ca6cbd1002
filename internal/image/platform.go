package image

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// HostPlatform returns the platform of this program, and so of this host.
func HostPlatform() Platform { return Platform{OS: "linux", Architecture: runtime.GOARCH} }

// ParsePlatform parses OS/ARCHITECTURE[/VARIANT], or an architecture alone for Linux. It also
// knows the kernel's names of architectures, such as x86_64.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	for _, part := range parts {
		if !ValidName(part) {
			return Platform{}, fmt.Errorf("platform %s: %w", text.Printable(s), errors.New("expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT"))
		}
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	switch len(parts) {
	case 2:
	case 3:
		p.Variant = parts[2]
	default:
		return Platform{}, fmt.Errorf("platform %s: %w", text.Printable(s), errors.New("more than OS/ARCHITECTURE/VARIANT"))
	}
	return p.Normal(), nil
}

// Normal returns the platform with one name for each architecture, and without a variant that
// every processor of the architecture supports.
func (p Platform) Normal() Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "i386", "i686":
		p.Architecture = "386"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	}
	if p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8") || p.Architecture == "amd64" && p.Variant == "v1" {
		p.Variant = ""
	}
	return p
}

// String returns OS/ARCHITECTURE[/VARIANT].
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}
