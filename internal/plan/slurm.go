package plan

import (
	"errors"
	"fmt"
	"path"
	goruntime "runtime"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/linker"
	"github.com/ocishim/ocishim/internal/mpi"
	"github.com/ocishim/ocishim/internal/slurm"
)

// Optional lists the edits that the site has asked for by name. cacheDir is as for MPI.
// Warnings are for the user, a line each.
func Optional(b *bundle.Bundle, cfg *config.Config, root, cacheDir string) (edits []bundle.Edit, warnings []string, err error) {
	if slices.Contains(cfg.HPC.Edits, config.EditTorch) {
		edits = append(edits, slurm.Torch(b.Spec.Process.Env))
	}
	hasMunge := false
	if slices.Contains(cfg.HPC.Edits, config.EditSlurm) {
		e, err := slurmInside(b, root, cacheDir)
		switch {
		case errors.Is(err, mpi.ErrMismatch), errors.Is(err, errNoSlurm):
			warnings = append(warnings, fmt.Sprintf("Slurm's commands are not in the container: %v", err))
		case err != nil:
			return nil, nil, fmt.Errorf("plan Slurm's commands: %w", err)
		default:
			edits = append(edits, e)
			hasMunge = slices.ContainsFunc(e.Mounts, func(m specs.Mount) bool { return m.Destination == mungeDir })
		}
	}
	if slices.Contains(cfg.HPC.Edits, config.EditMunge) && !hasMunge {
		e, err := munge(root)
		switch {
		case errors.Is(err, errNoMunge):
			warnings = append(warnings, fmt.Sprintf("munge's socket is not in the container: %v", err))
		case err != nil:
			return nil, nil, fmt.Errorf("plan munge's socket: %w", err)
		default:
			edits = append(edits, e)
		}
	}
	return edits, warnings, nil
}

// mungeDir is where libmunge looks for the socket of munged.
const mungeDir = "/run/munge"

var errNoMunge = errors.New("this node has none")

// munge has the image's own munge ask the node's munged.
func munge(root string) (bundle.Edit, error) {
	node, err := host.Open(root, host.Kernel{})
	if err != nil {
		return bundle.Edit{}, err
	}
	defer node.Close()
	source, err := findMunge(node)
	if err != nil {
		return bundle.Edit{}, err
	}
	return bundle.Edit{From: config.EditMunge, Rule: "hpc.edits", Mounts: []specs.Mount{mpi.BindOf(source, mungeDir)}, Exact: []string{mungeDir}}, nil
}

// findMunge is the directory of the socket, without links.
func findMunge(node *host.Tree) (string, error) {
	for _, dir := range []string{mungeDir, "/var/run/munge"} {
		if !node.Exists(dir + "/munge.socket.2") {
			continue
		}
		if resolved, err := node.Resolve(dir); err == nil {
			return node.HostPath(resolved), nil
		}
	}
	return "", fmt.Errorf("%w: no %s/munge.socket.2", errNoMunge, mungeDir)
}

var errNoSlurm = errors.New("this node has not all of Slurm")

// slurmInside makes the node's Slurm usable in the container: its commands, their plugins,
// its configuration, and munge's socket.
func slurmInside(b *bundle.Bundle, root, cacheDir string) (bundle.Edit, error) {
	node, err := host.Open(root, host.Kernel{})
	if err != nil {
		return bundle.Edit{}, err
	}
	defer node.Close()
	image, err := host.Open(b.Rootfs, host.Kernel{})
	if err != nil {
		return bundle.Edit{}, err
	}
	defer image.Close()
	found, err := findSlurm(node)
	if err != nil {
		return bundle.Edit{}, err
	}
	e, dir, err := mpi.Provide(mpi.Request{
		Node: node, Image: image, Arch: goruntime.GOARCH, Env: b.Spec.Process.Env, Mounts: b.Spec.Mounts, LoaderCache: loaderCache(b), CacheDir: cacheDir,
	}, mpi.Programs{Name: config.EditSlurm, Files: found.commands, Plugins: found.plugins})
	if err != nil {
		return e, err
	}
	e.Rule = "hpc.edits: " + path.Dir(found.commands[0])
	found.configure(node, &e, dir)
	return e, nil
}

// nodeSlurm is where a node has Slurm.
type nodeSlurm struct {
	commands []string
	plugins  string
	conf     string // the directory of slurm.conf
}

func findSlurm(node *host.Tree) (s nodeSlurm, err error) {
	for _, prefix := range []string{"/usr", "/usr/local", "/opt/slurm", "/opt/slurm/default", "/cm/shared/apps/slurm/current"} {
		if s.commands != nil || !node.IsFile(prefix+"/bin/srun") {
			continue
		}
		for _, name := range []string{"srun", "sbatch", "salloc", "squeue", "scontrol", "scancel", "sinfo", "sacct", "sstat", "sattach", "sbcast"} {
			if node.IsFile(prefix + "/bin/" + name) {
				s.commands = append(s.commands, prefix+"/bin/"+name)
			}
		}
		for _, lib := range append(linker.LibraryDirs(goruntime.GOARCH), prefix+"/lib", prefix+"/lib64") {
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
		return s, fmt.Errorf("%w: no srun", errNoSlurm)
	case s.plugins == "":
		return s, fmt.Errorf("%w: no plugins with auth_munge.so", errNoSlurm)
	case s.conf == "":
		return s, fmt.Errorf("%w: no slurm.conf", errNoSlurm)
	}
	return s, nil
}

// configure has the commands find a configuration that is the node's, but for where the
// plugins are; and munge.
func (s nodeSlurm) configure(node *host.Tree, e *bundle.Edit, dir string) {
	bind := func(source, destination string) {
		if resolved, err := node.Resolve(source); err == nil {
			e.Mounts = append(e.Mounts, mpi.BindOf(node.HostPath(resolved), destination))
		}
	}
	bind(s.conf, dir+"/etc")
	names := node.Names(s.conf)
	slices.Sort(names)
	for _, name := range names { // what slurm.conf includes is looked for beside it
		if name != "slurm.conf" {
			e.Links = append(e.Links, bundle.Link{Path: dir + "/conf/" + name, Target: "../etc/" + name})
		}
	}
	e.Files = append(e.Files, bundle.File{
		Path: dir + "/conf/slurm.conf", Data: []byte("Include " + dir + "/etc/slurm.conf\nPluginDir=" + dir + "/plugins\n"),
	})
	e.Env = append(e.Env, "SLURM_CONF="+dir+"/conf/slurm.conf")
	if socket, err := findMunge(node); err == nil {
		e.Mounts = append(e.Mounts, mpi.BindOf(socket, mungeDir))
		e.Exact = append(e.Exact, mungeDir)
	}
}
