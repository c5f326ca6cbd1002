package scrun

import (
	"errors"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
)

// newBundle returns a bundle as an engine makes it, with what requests look at.
func newBundle() *bundle.Bundle {
	return &bundle.Bundle{ID: "0123456789abcdef", Spec: &specs.Spec{
		Process: &specs.Process{Args: []string{"true"}},
		Linux:   &specs.Linux{Resources: &specs.LinuxResources{}},
	}}
}

func TestRequest(t *testing.T) {
	quota, period, memory := int64(250000), uint64(100000), int64(100<<20+1)
	for name, tt := range map[string]struct {
		change  func(*bundle.Bundle)
		options Options
		foreign bool
		job     string
		step    string
	}{
		"nothing": {job: "--job-name=0123456789ab"},
		"the container's variables": {
			change: func(b *bundle.Bundle) {
				b.Spec.Process.Env = []string{"A=b", "SCRUN_JOB_NUM_NODES=10", "SCRUN_PARTITION=p", "SCRUN_MPI_TYPE=pmi2", "SCRUN_CONTAINER_ID=x"}
			},
			job: "--job-name=0123456789ab --nodes=10 --partition=p", step: "--mpi=pmi2",
		},
		"who wins": {
			options: Options{Env: []string{"SCRUN_QOS=callers", "SCRUN_TIMELIMIT=callers"}, Site: Site{Options: []string{"--qos=sites", "--account=sites", "--time=sites"}}},
			change: func(b *bundle.Bundle) {
				b.Spec.Annotations = map[string]string{"org.ocishim.slurm.qos": "annotations", "org.ocishim.slurm.time": "annotations", "other": "x"}
				b.Spec.Process.Env = []string{"SCRUN_QOS=containers"}
			},
			job: "--account=sites --job-name=0123456789ab --qos=containers --time=callers",
		},
		"flags": {
			change: func(b *bundle.Bundle) {
				b.Spec.Process.Env = []string{"SCRUN_EXCLUSIVE=user", "SCRUN_OVERCOMMIT=1", "SCRUN_LABELIO=no", "SCRUN_SPREAD_JOB=yes"}
			},
			job: "--exclusive=user --job-name=0123456789ab --overcommit --spread-job", step: "--overcommit",
		},
		"a site's flag": {options: Options{Site: Site{Options: []string{"--exclusive"}}}, job: "--exclusive --job-name=0123456789ab"},
		"switches":      {options: Options{Env: []string{"SCRUN_REQ_SWITCH=2", "SCRUN_WAIT4SWITCH=10"}}, job: "--job-name=0123456789ab --switches=2@10"},
		"limits of the engine": {
			change: func(b *bundle.Bundle) {
				b.Spec.Linux.Resources.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
				b.Spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &memory}
			},
			job: "--cpus-per-task=3 --job-name=0123456789ab --mem=101M", step: "--cpus-per-task=3",
		},
		"GPUs by Podman": {
			change: func(b *bundle.Bundle) {
				for _, path := range []string{"/dev/nvidia0", "/dev/nvidia11", "/dev/nvidiactl", "/dev/nvidia-uvm"} {
					b.Spec.Linux.Devices = append(b.Spec.Linux.Devices, specs.LinuxDevice{Path: path})
				}
			},
			job: "--gpus=2 --job-name=0123456789ab",
		},
		"GPUs by Podman without root": {
			change: func(b *bundle.Bundle) {
				for _, path := range []string{"/dev/nvidia0", "/dev/nvidiactl"} {
					b.Spec.Mounts = append(b.Spec.Mounts, specs.Mount{Destination: path, Source: path, Type: "bind"})
				}
			},
			job: "--gpus=1 --job-name=0123456789ab",
		},
		"all GPUs, and a number elsewhere": {
			change:  allGPUs,
			options: Options{Env: []string{"SCRUN_GPUS_PER_NODE=2"}},
			job:     "--gpus-per-node=2 --job-name=0123456789ab",
		},
		"GPUs by Docker": {
			change: func(b *bundle.Bundle) {
				b.Spec.Process.Env = []string{"NVIDIA_VISIBLE_DEVICES=0,1,2"}
				b.Spec.Hooks = &specs.Hooks{Prestart: []specs.Hook{{Path: "/usr/bin/nvidia-container-runtime-hook"}}} //nolint:staticcheck // Docker uses it
			},
			job: "--gpus=3 --job-name=0123456789ab",
		},
		"an image that wants all GPUs": {
			change: func(b *bundle.Bundle) { b.Spec.Process.Env = []string{"NVIDIA_VISIBLE_DEVICES=all"} },
			job:    "--job-name=0123456789ab",
		},
		"in a job": {
			options: Options{Env: []string{"SCRUN_PARTITION=p", "SCRUN_NTASKS=2", "SCRUN_MEM_PER_NODE=5", "SCRUN_CPU_BIND=none"}},
			foreign: true, step: "--cpu-bind=none --mem=5 --ntasks=2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundle()
			if tt.change != nil {
				tt.change(b)
			}
			req, err := newRequest(b, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			job, step := req.split(tt.foreign)
			if strings.Join(job, " ") != tt.job || strings.Join(step, " ") != tt.step {
				t.Errorf("of the job %q, want %q; of the step %q, want %q", job, tt.job, step, tt.step)
			}
		})
	}
}

func TestRequestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*bundle.Bundle)
		options Options
		want    string
	}{
		"unknown variable":             {func(b *bundle.Bundle) { b.Spec.Process.Env = []string{"SCRUN_NODES=1"} }, Options{}, "unknown variable SCRUN_NODES"},
		"empty":                        {func(b *bundle.Bundle) { b.Spec.Process.Env = []string{"SCRUN_QOS="} }, Options{}, "SCRUN_QOS is empty"},
		"two lines":                    {func(b *bundle.Bundle) { b.Spec.Process.Env = []string{"SCRUN_QOS=a\nb"} }, Options{}, "line break"},
		"program of the host":          {func(b *bundle.Bundle) { b.Spec.Process.Env = []string{"SCRUN_TASK_PROLOG=/x"} }, Options{}, "acts on the host"},
		"program by annotation":        {func(b *bundle.Bundle) { b.Spec.Annotations = map[string]string{AnnotationPrefix + "prolog": "/x"} }, Options{}, "acts on the host"},
		"unknown annotation":           {func(b *bundle.Bundle) { b.Spec.Annotations = map[string]string{AnnotationPrefix + "x": "1"} }, Options{}, "unknown annotation"},
		"unknown option of the site":   {nil, Options{Site: Site{Options: []string{"--x=1"}}}, `unsupported option "--x=1"`},
		"without value":                {nil, Options{Site: Site{Options: []string{"--partition"}}}, "needs a value"},
		"not an option":                {nil, Options{Site: Site{Options: []string{"partition=x"}}}, "unsupported option"},
		"command by option":            {nil, Options{Site: Site{Options: []string{"--comment=x"}}}, "unsupported option"},
		"all GPUs, which nobody knows": {allGPUs, Options{}, "--gpus all"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundle()
			if tt.change != nil {
				tt.change(b)
			}
			_, err := newRequest(b, tt.options)
			if !errors.Is(err, ErrOption) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func allGPUs(b *bundle.Bundle) {
	b.Spec.Process.Env = []string{"NVIDIA_VISIBLE_DEVICES=all"}
	b.Spec.Hooks = &specs.Hooks{Prestart: []specs.Hook{{Path: "/usr/bin/nvidia-container-runtime-hook"}}} //nolint:staticcheck // Docker uses it
}

// The caller may name programs of the host.
func TestHostProgramsOfTheCaller(t *testing.T) {
	req, err := newRequest(newBundle(), Options{Env: []string{"SCRUN_TASK_PROLOG=/x"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, step := req.split(false); !slices.Equal(step, []string{"--task-prolog=/x"}) {
		t.Errorf("%q", step)
	}
}

// The table has each variable once, and is sorted by option.
func TestOptionsTable(t *testing.T) {
	seen := map[string]bool{}
	for i, o := range options {
		if seen[o.variable] {
			t.Errorf("%s stands twice", o.variable)
		}
		seen[o.variable] = true
		if o.target&(job|step) == 0 {
			t.Errorf("nobody takes --%s", o.name)
		}
		if i > 0 && options[i-1].name > o.name {
			t.Errorf("--%s stands after --%s", o.name, options[i-1].name)
		}
	}
	for _, name := range ofForeign {
		if !slices.ContainsFunc(options, func(o option) bool { return o.name == name }) {
			t.Errorf("--%s is no option", name)
		}
	}
}
