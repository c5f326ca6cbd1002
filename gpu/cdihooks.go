package gpu

import (
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	cdi "tags.cncf.io/container-device-interface/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/text"
)

// hooksFound are the hooks of a containerEdits object: the recognised ones, whose work
// is done here, and the others, which run.
type hooksFound struct {
	links    []bundle.Link
	folders  []string // for the loader's cache
	compat   string   // driver version to compare with; empty without
	noModify bool     // disable-device-node-modification
	profile  bool     // update-application-profile
	others   *specs.Hooks
}

// recogniseHooks recognises NVIDIA's nvidia-cdi-hook and nvidia-ctk by their arguments.
// Their work is done here as data: the programs need not exist, and nothing writes into
// the image or runs ldconfig in it.
func recogniseHooks(hooks []*cdi.Hook) (hooksFound, error) {
	var found hooksFound
	for _, h := range hooks {
		name, args := nvidiaHook(h)
		switch name {
		case "create-symlinks":
			for _, link := range flagValues(args, "link") {
				target, at, ok := strings.Cut(link, "::")
				if !ok || !path.IsAbs(at) || target == "" {
					return found, fmt.Errorf("hook create-symlinks: %s is not TARGET::LINK", text.Printable(link))
				}
				found.links = append(found.links, bundle.Link{Path: at, Target: target})
			}
		case "update-ldcache":
			found.folders = append(found.folders, flagValues(args, "folder")...)
		case "enable-cuda-compat":
			if v := flagValues(args, "host-driver-version"); len(v) > 0 {
				found.compat = v[0]
			}
		case "disable-device-node-modification":
			found.noModify = true
		case "update-application-profile":
			found.profile = true
		case "chmod":
			// It changes the mode of directories that an engine created while mounting.
			// Ours already have the right mode.
		default:
			if err := found.run(h); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// nvidiaHook returns the name and the arguments of one of NVIDIA's hooks; empty for
// other hooks.
func nvidiaHook(h *cdi.Hook) (name string, args []string) {
	if h.HookName != "createContainer" && h.HookName != "createRuntime" || len(h.Args) < 2 {
		return "", nil
	}
	args = h.Args[1:]
	switch path.Base(h.Path) {
	case "nvidia-cdi-hook":
	case "nvidia-ctk":
		if args[0] != "hook" || len(args) < 2 {
			return "", nil
		}
		args = args[1:]
	default:
		return "", nil
	}
	return args[0], args[1:]
}

// flagValues returns the values of a flag, written --flag value or --flag=value.
func flagValues(args []string, flag string) []string {
	var values []string
	for i, arg := range args {
		name, value, inline := strings.Cut(arg, "=")
		switch {
		case strings.TrimLeft(name, "-") != flag || !strings.HasPrefix(name, "-"):
		case inline:
			values = append(values, value)
		case i+1 < len(args):
			values = append(values, args[i+1])
		}
	}
	return values
}

// run keeps a hook that is not recognised; the launcher runs it.
func (f *hooksFound) run(h *cdi.Hook) error {
	if f.others == nil {
		f.others = new(specs.Hooks)
	}
	hook := specs.Hook{Path: h.Path, Args: h.Args, Env: h.Env, Timeout: h.Timeout}
	for _, list := range []struct {
		name  string
		hooks *[]specs.Hook
	}{
		{"prestart", &f.others.Prestart}, //nolint:staticcheck // deprecated, but CDI has it
		{"createRuntime", &f.others.CreateRuntime},
		{"createContainer", &f.others.CreateContainer},
		{"startContainer", &f.others.StartContainer},
		{"poststart", &f.others.Poststart},
		{"poststop", &f.others.Poststop},
	} {
		if list.name == h.HookName {
			*list.hooks = append(*list.hooks, hook)
			return nil
		}
	}
	return fmt.Errorf("hook %s: unknown hookName %s", text.Printable(h.Path), text.Printable(h.HookName))
}

// carryOut does the work of the recognised hooks.
func (p *plan) carryOut(f hooksFound, e *bundle.Edit) {
	for _, l := range f.links {
		if link, ok := p.relocate(l, f.folders); ok {
			e.Links = append(e.Links, link)
		}
	}
	if f.compat != "" {
		p.forwardCompatibility(f.compat)
	}
	if f.noModify {
		p.kernelParameters()
	}
	if f.profile {
		var cards []card
		for _, d := range e.Devices {
			if minor, ok := suffixNumber(d.Path, "/dev/nvidia"); ok {
				cards = append(cards, card{minor: minor})
			}
		}
		p.applicationProfile(e, cards)
	}
}

// relocate moves a link from a directory of libraries to the directory that holds them
// in the container. It leaves out links that every library there gets anyway.
func (p *plan) relocate(l bundle.Link, folders []string) (bundle.Link, bool) {
	for _, folder := range folders {
		inside, ok := strings.CutPrefix(l.Path, path.Clean(folder)+"/")
		if !ok {
			continue
		}
		for _, lib := range p.libraries {
			for _, name := range lib.names() {
				if path.Join(lib.dir, name) == inside {
					return l, false
				}
			}
		}
		return bundle.Link{Path: path.Join(p.private(), "lib", inside), Target: l.Target}, true
	}
	return l, true
}
