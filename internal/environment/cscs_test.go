package environment

import (
	"strings"
	"testing"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/request"
)

// Every key, and every form of a value, that the public guide of CSCS's container engine shows
// (docs.cscs.ch, 2026-08): it works, or is an error that says why.
func TestGuideOfCSCS(t *testing.T) {
	const debian = "image = 'docker://debian:13'\n"
	for name, c := range map[string]struct{ file, wrong string }{
		"docker hub":            {"image = 'library/ubuntu:24.04'", ""},
		"docker hub, no path":   {"image = 'ubuntu:latest'", ""},
		"docker hub, by name":   {"image = 'docker.io#library/ubuntu:24.04'", ""},
		"docker hub, a project": {"image = 'nvidia/cuda:12.5.1-devel-ubuntu24.04'", ""},
		"ngc":                   {"image = 'nvcr.io#nvidia/pytorch:22.12-py3'", ""},
		"ngc, with a slash":     {"image = 'nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0-ubuntu22.04'", ""},
		"quay":                  {"image = 'quay.io#madeeks/osu-mb:6.2-mpich4.1-ubuntu22.04-arm64'", ""},
		"a user":                {"image = 'alice@nvcr.io#nvidia/pytorch:22.12-py3'", ""},
		"a site's registry":     {"image = 'registry.example.org/group/images/ngc-pytorch:26.02-py3'", ""},
		"a file":                {"image = '/path/to/image.squashfs'", "no such file"},
		"a file in scratch":     {"image = '${SCRATCH}/nvidia+cuda+11.8.0-cudnn8-devel-ubuntu22.04.sqsh'", "/scratch/alice/nvidia+cuda"},
		"no image":              {"workdir = '/'", "names no image"},

		"workdir":              {debian + "workdir = '/home/user/projects'", ""},
		"workdir in scratch":   {debian + "workdir = '${SCRATCH}/tutorials/gemma-7b'", ""},
		"workdir not absolute": {debian + "workdir = 'default/working/dir/path'", "not an absolute path"},
		"entrypoint":           {debian + "entrypoint = true", ""},
		"mount":                {debian + "mounts = ['/capstor/scratch/cscs/amadonna:/capstor/scratch/cscs/amadonna']", ""},
		"mount by variable":    {debian + "mounts = ['/capstor/scratch/cscs/${USER}:/capstor/scratch/cscs/${USER}']", ""},
		"mount of scratch":     {debian + "mounts = ['${SCRATCH}:${SCRATCH}']", ""},
		"mount with flags":     {debian + "mounts = ['${SCRATCH}:${SCRATCH}:ro+private']", ""},
		"mount of nothing":     {debian + "mounts = ['${NOSUCH}:/data']", "there is no variable NOSUCH"},
		"mount of default":     {debian + "mounts = ['/x${NOSUCH:-}:/data']", ""},
		"mount of a squashfs":  {debian + "mounts = ['${SCRATCH}:${SCRATCH}', '${SCRATCH}/data.sqsh:/data:sqsh']", ""},
		"mount to no path":     {debian + "mounts = ['/paths/on/scratch:path/on/the/container']", "not an absolute path"},

		"env":                 {debian + "[env]\nMY_RUN = 'production'\nDEBUG = 'false'", ""},
		"env, expanded":       {debian + "[env]\nMY_NODE = '${VAR_FROM_HOST}'\nPATH = '${PATH}:/custom/bin'", ""},
		"env, not expanded":   {debian + "[env]\nA = '$${VAR}'", ""},
		"env, not a string":   {debian + "[env]\nA = 1", "expected a string"},
		"env of a workaround": {debian + "[env]\nENROOT_SLURM_HOOK = '0'\nPMIX_MCA_psec = 'native'", ""},

		"cxi off":                {debian + "[annotations]\ncom.hooks.cxi.enabled = 'false'", ""},
		"cxi on":                 {debian + "[annotations]\ncom.hooks.cxi.enabled = 'true'", "com.hooks.cxi.enabled: this site does not give it"},
		"nccl":                   {debian + "[annotations]\ncom.hooks.aws_ofi_nccl.enabled = 'true'\ncom.hooks.aws_ofi_nccl.variant = 'cuda-dl'", "aws_ofi_nccl.enabled: this site"},
		"netstack of the host":   {debian + "[annotations]\ncom.hooks.netstack.source = 'host'", ""},
		"netstack, downloaded":   {debian + "[annotations]\ncom.hooks.netstack.source = 'artifact'\ncom.hooks.netstack.name = 'default'", "netstack.source"},
		"ssh":                    {debian + "[annotations.com.hooks.ssh]\nauthorize_ssh_key = '/x/${USER}/authorized_keys'\nenabled = 'true'", "ssh.enabled: this site"},
		"ssh, one table":         {debian + "[annotations]\ncom.hooks.ssh.authorize_ssh_key = '/path/to/authorized_keys'\ncom.hooks.ssh.enabled = 'true'", "ssh.enabled: this site"},
		"mps":                    {debian + "[annotations]\ncom.hooks.nvidia_cuda_mps.enabled = 'true'", "mps.enabled: this site"},
		"dcgm":                   {debian + "[annotations]\ncom.hooks.dcgm.enabled = 'true'", "dcgm.enabled: this site"},
		"slurm":                  {debian + "[annotations]\ncom.hooks.slurm.enabled = 'true'", "hpc.edits lacks"},
		"the guide's wrong file": {debian + "[annotations]\ncom.hooks.ssh.authorize_ssh_key = 'x'\n\n[annotations.com.hooks.ssh]\nenabled = 'true'", "already set in line 3"},
		"entrypoint's log":       {debian + "[annotations]\ncom.pyxis.entrypoint_log = 'true'", "com.pyxis.entrypoint_log"},
	} {
		err := launchable(write(t, map[string]string{"env": c.file}))
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: %v, wanted %s", name, err, c.wrong)
		}
	}
}

// launchable does what a launch of the environment "env" does before there is an image.
func launchable(p Places) error {
	e, err := Load("env", p)
	if err != nil {
		return err
	}
	ref, err := image.ParseReference(e.Image.Value, image.Rules{Dir: p.Dir, Home: p.Home})
	if err != nil {
		return err
	}
	if _, err := ref.Decide(); err != nil {
		return err
	}
	annotations, err := e.ContainerAnnotations()
	if err != nil {
		return err
	}
	if _, err := request.Read(annotations, p.Env, true); err != nil {
		return err
	}
	return plan.CheckHooks(annotations, config.Default(), nil)
}
