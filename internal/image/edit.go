package image

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/bundle"
)

// defaultPath is PATH where an image sets none, as Docker has it.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// jobsOwn are the variables, by what their names begin with, that an image cannot set: they
// say what the job is, who the user is, and what Slurm allocated, or are ocishim's.
var jobsOwn = []string{
	"SLURM_", "SLURMD_", "PMI_", "PMIX_", "OCISHIM_", "HOME=", "USER=", "LOGNAME=",
	"CUDA_VISIBLE_DEVICES=", "ROCR_VISIBLE_DEVICES=", "HIP_VISIBLE_DEVICES=", "GPU_DEVICE_ORDINAL=", "ZE_AFFINITY_MASK=",
}

// loaders are variables of the job that direct the dynamic loader. They name files of the
// host, so they would break programs of the image, and are taken away.
var loaders = []string{"LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT"}

// Edit returns what the image's configuration changes in a bundle whose root is the image:
// its variables override the job's, but for those that say what the job is; its working
// directory is the container's where no other edit has one. The process is the bundle's
// own: see Command. rootPath is an absolute path of the image's root file system.
//
// USER has no effect: the process runs as who starts it. Nor have VOLUME and EXPOSE: the
// container shares the host's network, and its directories are as the image has them.
func (i *Record) Edit(rootPath string) bundle.Edit {
	e := bundle.Edit{
		From: "image", Rule: i.Reference + ", " + string(i.Digest),
		RootPath: rootPath, EnvUnset: loaders, Cwd: cmp.Or(i.Config.WorkingDir, "/"),
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

// annotations follows image-spec, conversion.md. Of the labels it takes those that are
// defined there: others could be taken for a wish of the user's.
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

// Command returns what to execute: the command that was given, by itself or, with
// entrypoint, as the arguments of the image's; without any, what the image says. It is
// empty where neither says anything.
func (c Config) Command(given []string, entrypoint bool) []string {
	switch {
	case len(given) == 0:
		return slices.Concat(c.Entrypoint, c.Cmd)
	case entrypoint:
		return slices.Concat(c.Entrypoint, given)
	}
	return given
}
