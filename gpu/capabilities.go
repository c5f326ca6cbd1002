package gpu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/text"
)

// A capabilitySet lists the parts of NVIDIA's driver that a container gets.
type capabilitySet []string

// any reports whether one of the names is in the set.
func (s capabilitySet) any(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(s, name) })
}

// knownCapabilities are those of the container toolkit without compat32: see
// docs/gpu.md.
func knownCapabilities() capabilitySet {
	return capabilitySet{"compute", "utility", "video", "graphics", "display", "ngx"}
}

// capabilities returns the user's choice, or NVIDIA_DRIVER_CAPABILITIES, or the site's
// default.
func (p *plan) capabilities() (capabilitySet, error) {
	asked, from := p.Capabilities, "the user"
	if asked == nil {
		asked, _ = p.env.list(driverCapabilities)
		from = driverCapabilities
	}
	if len(asked) == 0 && p.Capabilities == nil {
		asked, from = p.Site.Capabilities, "the configuration"
		if asked == nil {
			asked = []string{"compute", "utility"}
		}
	}
	var caps capabilitySet
	for _, name := range asked {
		switch {
		case name == "all":
			return knownCapabilities(), nil
		case name == "none":
		case name == "compat32":
			p.warn(from + " asks for compat32: ocishim provides no 32-bit driver libraries")
		case slices.Contains(knownCapabilities(), name):
			caps = append(caps, name)
		default:
			return nil, fmt.Errorf("give GPUs: %s asks for the capability %s; known are %s and all",
				from, text.Printable(name), strings.Join(knownCapabilities(), ", "))
		}
	}
	return caps, nil
}

// A libraryClass lists the driver libraries that come with a capability.
type libraryClass struct {
	capability string
	names      []string // without what follows .so
}

// libraryClasses maps the libraries of NVIDIA's driver to their capabilities, as its
// package and the container toolkit's documents name them. A library that is not listed
// comes with any capability: newer drivers add libraries that others need.
func libraryClasses() map[string]string {
	byName := map[string]string{}
	for _, class := range []libraryClass{
		{"utility", []string{"libnvidia-ml", "libnvidia-cfg", "libnvidia-nscq", "libnvsdm", "libnvidia-sandboxutils"}},
		{"compute", []string{
			"libcuda", "libcudadebugger", "libnvidia-opencl", "libnvidia-gpucomp", "libnvidia-ptxjitcompiler",
			"libnvidia-fatbinaryloader", "libnvidia-allocator", "libnvidia-compiler", "libnvidia-pkcs11",
			"libnvidia-pkcs11-openssl3", "libnvidia-nvvm", "libnvidia-nvvm70", "libnvidia-tileiras",
		}},
		{"video", []string{"libvdpau_nvidia", "libnvidia-encode", "libnvidia-opticalflow", "libnvcuvid"}},
		{"graphics", []string{
			"libnvidia-eglcore", "libnvidia-glcore", "libnvidia-tls", "libnvidia-glsi", "libnvidia-fbc", "libnvidia-ifr",
			"libnvidia-rtcore", "libnvoptix", "libGLX_nvidia", "libEGL_nvidia", "libGLESv2_nvidia", "libGLESv1_CM_nvidia",
			"libnvidia-glvkspirv", "libnvidia-cbl", "libnvidia-egl-gbm", "libnvidia-egl-wayland", "libnvidia-egl-wayland2",
			"libnvidia-egl-xcb", "libnvidia-egl-xlib", "libnvidia-vulkan-producer", "libnvidia-vksc-core", "libnvidia-api",
			"libnvidia-present",
		}},
		{"display", []string{"libnvidia-wayland-client"}},
		{"ngx", []string{"libnvidia-ngx"}},
		// These go to no container: docs/gpu.md says why.
		{"none", []string{
			"libnvidia-gtk2", "libnvidia-gtk3", "libnvidia-wfb", "libglxserver_nvidia", "libdxcore", "libOpenCL",
			"libGL", "libEGL", "libGLESv1_CM", "libGLESv2", "libGLX", "libGLdispatch", "libOpenGL",
		}},
	} {
		for _, name := range class.names {
			byName[name] = class.capability
		}
	}
	return byName
}

// wants reports whether a container with these capabilities gets the library. A shader
// compiler that compute and graphics share comes with either.
func (s capabilitySet) wants(library string, classes map[string]string) bool {
	capability, known := classes[library]
	switch {
	case !known:
		return len(s) > 0
	case library == "libnvidia-gpucomp" || library == "libnvidia-allocator":
		return s.any(capability, "graphics")
	}
	return s.any(capability)
}

// optional reports whether the driver works without the library if the image cannot
// load it, because it has a second one for other images.
func optional(library string) bool {
	return strings.HasPrefix(library, "libnvidia-pkcs11") || strings.HasPrefix(library, "libnvidia-egl-") ||
		library == "libcudadebugger" || library == "libnvidia-sandboxutils" || library == "libnvsdm" || library == "libnvidia-nscq"
}
