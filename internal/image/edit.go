package image

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
)

// defaultPath is Docker's PATH for images that set none.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// jobsOwn are prefixes of the variables that an image cannot set: they describe the job, the
// user and what Slurm allocated, or are ocishim's.
var jobsOwn = []string{
	"SLURM_", "SLURMD_", "PMI_", "PMIX_", "OCISHIM_", "HOME=", "USER=", "LOGNAME=",
	"CUDA_VISIBLE_DEVICES=", "ROCR_VISIBLE_DEVICES=", "HIP_VISIBLE_DEVICES=", "GPU_DEVICE_ORDINAL=", "ZE_AFFINITY_MASK=",
}

// loaders are variables of the job that direct the dynamic loader. They are removed: they
// name files of the host and would break the image's programs.
var loaders = []string{"LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT"}

// passwords are variables that credentials for registries are read from. They are removed: they
// are for ocishim, and not for the application.
var passwords = []string{"APPTAINER_DOCKER_USERNAME", "APPTAINER_DOCKER_PASSWORD", "OCISHIM_REGISTRY_USERNAME", "OCISHIM_REGISTRY_PASSWORD"}

// Edit returns what the image's configuration changes in a bundle whose root is the image. The
// image's variables override the job's, except for jobsOwn. Its working directory is used
// unless another edit sets one. Edit leaves the command alone: see Command. rootPath is the
// absolute path of the image's root file system.
//
// USER has no effect: the process runs as the user who starts it. VOLUME and EXPOSE have none
// either: directories stay as they are in the image, and the container shares the host's
// network.
func (i *Record) Edit(rootPath string) bundle.Edit {
	e := bundle.Edit{
		From: "image", Rule: i.Reference + ", " + string(i.Digest),
		RootPath: rootPath, EnvUnset: slices.Concat(loaders, passwords), Cwd: cmp.Or(i.Config.WorkingDir, "/"),
		RootReadonly: true, Annotations: i.annotations(),
	}
	hasPath := false
	for _, entry := range i.Config.Env {
		name, _, found := strings.Cut(entry, "=")
		isJobs := slices.ContainsFunc(jobsOwn, func(prefix string) bool { return strings.HasPrefix(entry, prefix) })
		if !found || name == "" || isJobs || strings.ContainsRune(entry, 0) {
			continue
		}
		hasPath = hasPath || name == "PATH"
		e.Env = append(e.Env, entry)
	}
	if !hasPath {
		e.Env = append(e.Env, defaultPath)
	}
	if !strings.HasPrefix(e.Cwd, "/") {
		e.Cwd = "/" + e.Cwd // as Docker
	}
	return e
}

// annotations returns annotations as image-spec's conversion.md defines them. It takes only
// the labels defined there: others could pass for a request of the user.
func (i *Record) annotations() map[string]string {
	const defined = "org.opencontainers.image."
	annotations := map[string]string{}
	for name, value := range i.Config.Labels {
		if strings.HasPrefix(name, defined) {
			annotations[name] = value
		}
	}
	annotations[defined+"os"] = i.Platform.OS
	annotations[defined+"architecture"] = i.Platform.Architecture
	if i.Config.StopSignal != "" {
		annotations[defined+"stopSignal"] = i.Config.StopSignal
	}
	return annotations
}

// Command returns the command to execute. A given command runs by itself or, with entrypoint,
// as the arguments of the image's ENTRYPOINT. Without a given command, the image's ENTRYPOINT
// and CMD run. The result is empty if neither names a command.
func (c Config) Command(given []string, entrypoint bool) []string {
	switch {
	case len(given) == 0:
		return slices.Concat(c.Entrypoint, c.Cmd)
	case entrypoint:
		return slices.Concat(c.Entrypoint, given)
	}
	return given
}
