// Package slurminside makes the host's Slurm usable from within a container: its commands, plugins
// and configuration, and munge's socket.
package slurminside

import (
	"errors"
	"fmt"
	"path"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/mpi"
	"github.com/ocishim/ocishim/internal/scene"
)

// MungeDir is where libmunge looks for the socket of munged.
const MungeDir = "/run/munge"

// These errors name what a host can lack. A container can do without.
var (
	// ErrNoMunge says that the host has no socket of munged.
	ErrNoMunge = errors.New("the host has no munged")

	// ErrNoSlurm says that the host lacks a part of Slurm that the commands need.
	ErrNoSlurm = errors.New("the host lacks a part of Slurm")
)

// Munge returns the edit that lets the image's own munge use the host's munged. If the host has
// none, the error is an ErrNoMunge.
func Munge(node *host.Tree) (bundle.Edit, error) {
	source, err := findMunge(node)
	if err != nil {
		return bundle.Edit{}, err
	}
	return bundle.Edit{
		From: config.EditMunge, Rule: "hpc.edits",
		Mounts: []specs.Mount{mpi.BindOf(source, MungeDir)}, Exact: []string{MungeDir},
	}, nil
}

// findMunge returns the directory of the socket, with links resolved.
func findMunge(node *host.Tree) (string, error) {
	for _, dir := range []string{MungeDir, "/var/run/munge"} {
		if !node.Exists(dir + "/munge.socket.2") {
			continue
		}
		if resolved, err := node.Resolve(dir); err == nil {
			return node.HostPath(resolved), nil
		}
	}
	return "", fmt.Errorf("%w: no %s/munge.socket.2", ErrNoMunge, MungeDir)
}

// Commands returns the edit that makes the host's Slurm commands run in the container, with munge's
// socket if there is one. The error is an ErrNoSlurm if the host lacks something, and an
// mpi.ErrMismatch if the image's libraries do not fit.
func Commands(s scene.Scene) (bundle.Edit, error) {
	found, err := find(s.Host, s.Arch)
	if err != nil {
		return bundle.Edit{}, err
	}
	e, dir, err := mpi.Provide(s, mpi.Programs{Name: config.EditSlurm, Files: found.commands, Plugins: found.plugins})
	if err != nil {
		return e, err
	}
	e.Rule = "hpc.edits: " + path.Dir(found.commands[0])
	found.configure(s.Host, &e, dir)
	return e, nil
}

// HasMunge reports whether the edit shows munge's socket in the container.
func HasMunge(e bundle.Edit) bool {
	return slices.ContainsFunc(e.Mounts, func(m specs.Mount) bool { return m.Destination == MungeDir })
}

// An installation is where Slurm is on a host.
type installation struct {
	commands []string
	plugins  string
	conf     string // the directory of slurm.conf
}

func find(node *host.Tree, arch string) (s installation, err error) {
	for _, prefix := range []string{"/usr", "/usr/local", "/opt/slurm", "/opt/slurm/default", "/cm/shared/apps/slurm/current"} {
		if s.commands != nil || !node.IsFile(prefix+"/bin/srun") {
			continue
		}
		for _, name := range []string{"srun", "sbatch", "salloc", "squeue", "scontrol", "scancel", "sinfo", "sacct", "sstat", "sattach", "sbcast"} {
			if node.IsFile(prefix + "/bin/" + name) {
				s.commands = append(s.commands, prefix+"/bin/"+name)
			}
		}
		for _, lib := range append(linker.LibraryDirs(arch), prefix+"/lib", prefix+"/lib64") {
			for _, dir := range []string{lib + "/slurm", lib + "/slurm-wlm"} {
				if s.plugins == "" && node.IsFile(dir+"/auth_munge.so") {
					s.plugins = dir
				}
			}
		}
	}
	for _, dir := range []string{"/etc/slurm", "/run/slurm/conf", "/opt/slurm/etc", "/usr/local/etc", "/etc/slurm-llnl"} {
		if s.conf == "" && node.IsFile(dir+"/slurm.conf") {
			s.conf = dir
		}
	}
	switch {
	case s.commands == nil:
		return s, fmt.Errorf("%w: no srun", ErrNoSlurm)
	case s.plugins == "":
		return s, fmt.Errorf("%w: no plugins with auth_munge.so", ErrNoSlurm)
	case s.conf == "":
		return s, fmt.Errorf("%w: no slurm.conf", ErrNoSlurm)
	}
	return s, nil
}

// configure makes the commands use the host's configuration, except for the directories of the
// plugins and munge.
func (s installation) configure(node *host.Tree, e *bundle.Edit, dir string) {
	bind := func(source, destination string) {
		if resolved, err := node.Resolve(source); err == nil {
			e.Mounts = append(e.Mounts, mpi.BindOf(node.HostPath(resolved), destination))
		}
	}
	bind(s.conf, dir+"/etc")
	names := node.Names(s.conf)
	slices.Sort(names)
	for _, name := range names { // slurm.conf includes files from its own directory
		if name != "slurm.conf" {
			e.Links = append(e.Links, bundle.Link{Path: dir + "/conf/" + name, Target: "../etc/" + name})
		}
	}
	e.Files = append(e.Files, bundle.File{
		Path: dir + "/conf/slurm.conf", Data: []byte("Include " + dir + "/etc/slurm.conf\nPluginDir=" + dir + "/plugins\n"),
	})
	e.Env = append(e.Env, "SLURM_CONF="+dir+"/conf/slurm.conf")
	if socket, err := findMunge(node); err == nil {
		e.Mounts = append(e.Mounts, mpi.BindOf(socket, MungeDir))
		e.Exact = append(e.Exact, MungeDir)
	}
}
