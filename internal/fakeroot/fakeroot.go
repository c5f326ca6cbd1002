// Package fakeroot makes a user root in an image, as far as package managers need it: uid 0 of a user
// namespace that has no other id, and a seccomp filter that answers with success what such a root
// cannot do. docs/root.md documents the rules.
package fakeroot

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/mpi"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/scene"
)

// ErrBreaksMPI says that the tasks of a step would not find each other.
var ErrBreaksMPI = errors.New("remap_root would break the MPI of this step")

// A Request describes a container whose command is to be root.
type Request struct {
	scene.Scene

	// Choice is the user's wish.
	Choice request.Choice

	// UID and GID are the caller's.
	UID, GID int

	// Spec is the container so far.
	Spec *specs.Spec

	// Layer says that the image's files can be changed: what is made for the container is made in a
	// layer of its own.
	Layer bool

	// Home is a directory of the host that is to be the home of root; empty for the image's /root.
	Home string
}

// home is where root's files are.
const home = "/root"

// Edits returns what makes the command root. The error is an ErrBreaksMPI if other tasks of the step
// could not exchange messages with it.
func Edits(r Request) (scene.Proposal, error) {
	if err := r.checkMPI(); err != nil {
		return scene.Proposal{}, err
	}
	filter, err := filter(r.Spec.Linux, r.Arch)
	if err != nil {
		return scene.Proposal{}, fmt.Errorf("%s: %w", r.Choice.By, err)
	}
	e := bundle.Edit{
		From: "remap_root", Rule: r.Choice.By,
		Namespaces:      []specs.LinuxNamespace{{Type: specs.UserNamespace}},
		UIDMappings:     []specs.LinuxIDMapping{{HostID: uint32(r.UID), Size: 1}},
		GIDMappings:     []specs.LinuxIDMapping{{HostID: uint32(r.GID), Size: 1}},
		User:            &specs.User{Umask: r.Spec.Process.User.Umask},
		Capabilities:    capabilities(),
		NoNewPrivileges: true, // without it the filter would answer for libcontainer as well
		Seccomp:         filter,
		DropMounts:      r.hostsUsers(),
		Env:             []string{"HOME=" + home, "USER=root", "LOGNAME=root", "PATH=" + withSystemPrograms(r.Env)},
	}
	if r.Home != "" {
		e.Mounts = append(e.Mounts, bundle.Bind(r.Home, home, "rbind"))
		e.Exact = append(e.Exact, home)
	}
	p := scene.Proposal{Edits: []bundle.Edit{e}}
	if e, warning := r.apt(); warning != "" || !e.Empty() {
		p.Edits = append(p.Edits, e)
		if warning != "" {
			p.Warnings = append(p.Warnings, warning)
		}
	}
	return p, nil
}

// checkMPI refuses what would fail later, and be hard to explain.
func (r Request) checkMPI() error {
	if r.Choice.Value == request.RootForce {
		return nil
	}
	tasks, variable := mpi.Step(r.Env)
	if tasks < 2 || variable == "" {
		return nil
	}
	return fmt.Errorf("%s: %w: it has %d tasks and a PMI (%s), and each would be in a user namespace of its own",
		r.Choice.By, ErrBreaksMPI, tasks, variable)
}

// capabilities are Docker's for root, less the one to make devices, and what rpm needs to run scripts
// in namespaces of their own. They count in the user namespace alone, as any user can have them by
// unshare(1): for the user's own files, the container's mounts and its processes.
func capabilities() *specs.LinuxCapabilities {
	names := strings.Fields("CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_NET_RAW CAP_SETGID CAP_SETUID " +
		"CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE CAP_SYS_ADMIN CAP_NET_ADMIN")
	return &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
}

// hostsUsers lists mounts of the host's users over the image's. A package manager adds users to the
// image's files, and could not replace them below a mount.
func (r Request) hostsUsers() []string {
	var drop []string
	for _, m := range r.Spec.Mounts {
		at := path.Clean("/" + m.Destination)
		if bundle.IsBind(m) && path.Clean(m.Source) == at && (at == "/etc/passwd" || at == "/etc/group") {
			drop = append(drop, at)
		}
	}
	return drop
}

// withSystemPrograms adds the directories of programs that only root needs: dpkg refuses to work
// without them.
func withSystemPrograms(env []string) string {
	value, _ := bundle.Getenv(env, "PATH")
	dirs := slices.DeleteFunc(strings.Split(value, ":"), func(dir string) bool { return dir == "" })
	for _, dir := range strings.Fields("/usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin") {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, ":")
}

// aptConfig is read by apt before the image's own configuration, and aptPart with it, after others.
const (
	aptConfig = "/run/ocishim/apt.conf"
	aptParts  = "/etc/apt/apt.conf.d"
	aptPart   = aptParts + "/zz-ocishim"
)

// apt makes apt download as root. It would become the user _apt, and checks that it is.
//
// Where the image has a layer, the file is among apt's own. Elsewhere that would hide the directory
// from dpkg, which replaces the other files in it.
func (r Request) apt() (e bundle.Edit, warning string) {
	if r.Image == nil || !r.Image.Exists("/etc/apt") {
		return e, ""
	}
	e = bundle.Edit{From: "remap_root", Rule: "the image has apt, which would change to the user _apt"}
	says := []byte("APT::Sandbox::User \"root\";\n")
	if r.Layer && r.Image.IsDir(aptParts) {
		e.Files = []bundle.File{{Path: aptPart, Data: says}}
		return e, ""
	}
	if file, set := bundle.Getenv(r.Env, "APT_CONFIG"); set && file != "" {
		return bundle.Edit{}, `APT_CONFIG is set: apt works only if that file says APT::Sandbox::User "root";`
	}
	e.Env, e.Files = []string{"APT_CONFIG=" + aptConfig}, []bundle.File{{Path: aptConfig, Data: says}}
	return e, ""
}
