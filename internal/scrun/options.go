package scrun

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// AnnotationPrefix begins the annotations that are job options: org.ocishim.slurm.partition
// is --partition.
const AnnotationPrefix = "org.ocishim.slurm."

// variablePrefix begins the variables that are job options, the same as those of Slurm's
// scrun.
const variablePrefix = "SCRUN_"

// A target says which command takes an option.
type target int

const (
	job  target = 1 << iota // salloc
	step                    // srun
	host                    // its value is a program or file that is used outside of the container
	flag                    // has no value; the variable is yes or no
)

// An option is an option of salloc or srun, with its variable of Slurm's scrun.
type option struct {
	name     string
	variable string // without variablePrefix
	target   target
}

// options are the options for which scrun(1) has variables, sorted by name.
var options = []option{
	{"account", "ACCOUNT", job},
	{"acctg-freq", "ACCTG_FREQ", job | step},
	{"bb", "BURST_BUFFER", job | host},
	{"chdir", "WORKING_DIR", step},
	{"chdir", "REMOTE_CWD", step},
	{"cluster-constraint", "CLUSTER_CONSTRAINT", job},
	{"constraint", "CONSTRAINT", job},
	{"core-spec", "CORE_SPEC", job},
	{"cores-per-socket", "NCORES_PER_SOCKET", job},
	{"cpu-bind", "CPU_BIND", step},
	{"cpu-freq", "CPU_FREQ_REQ", step},
	{"cpus-per-gpu", "CPUS_PER_GPU", job},
	{"cpus-per-task", "CPUS_PER_TASK", job | step},
	{"delay-boot", "DELAY_BOOT", job},
	{"dependency", "DEPENDENCY", job},
	{"distribution", "DISTRIBUTION", job | step},
	{"epilog", "EPILOG", step | host},
	{"exact", "EXACT", step | flag},
	{"exclusive", "EXCLUSIVE", job | flag},
	{"gpu-bind", "GPU_BIND", job | step},
	{"gpu-freq", "GPU_FREQ", job},
	{"gpus", "GPUS", job},
	{"gpus-per-node", "GPUS_PER_NODE", job},
	{"gpus-per-socket", "GPUS_PER_SOCKET", job},
	{"gpus-per-task", "GPUS_PER_TASK", job},
	{"gres", "GRES", job},
	{"gres-flags", "GRES_FLAGS", job},
	{"hint", "HINT", job},
	{"job-name", "JOB_NAME", job},
	{"label", "LABELIO", step | flag},
	{"mem", "MEM_PER_NODE", job},
	{"mem-bind", "MEM_BIND", step},
	{"mem-per-cpu", "MEM_PER_CPU", job},
	{"mem-per-gpu", "MEM_PER_GPU", job},
	{"mpi", "MPI_TYPE", step},
	{"network", "NETWORK", job},
	{"nodelist", "JOB_NODELIST", job},
	{"nodes", "JOB_NUM_NODES", job},
	{"ntasks", "NTASKS", job},
	{"ntasks-per-core", "NTASKS_PER_CORE", job},
	{"ntasks-per-gpu", "NTASKS_PER_GPU", job},
	{"ntasks-per-node", "NTASKS_PER_NODE", job},
	{"ntasks-per-socket", "NTASKS_PER_SOCKET", job},
	{"open-mode", "OPEN_MODE", step},
	{"overcommit", "OVERCOMMIT", job | step | flag},
	{"overlap", "OVERLAP", step | flag},
	{"partition", "PARTITION", job},
	{"power", "POWER", job},
	{"profile", "PROFILE", job},
	{"prolog", "PROLOG", step | host},
	{"qos", "QOS", job},
	{"reservation", "RESERVATION", job},
	{"signal", "SIGNAL", job},
	{"slurmd-debug", "SLURMD_DEBUG", step},
	{"sockets-per-node", "NSOCKETS_PER_NODE", job},
	{"spread-job", "SPREAD_JOB", job | flag},
	{"switches", "REQ_SWITCH", job},
	{"task-epilog", "TASK_EPILOG", step | host},
	{"task-prolog", "TASK_PROLOG", step | host},
	{"thread-spec", "THREAD_SPEC", job},
	{"threads", "THREADS", step},
	{"threads-per-core", "THREADS_PER_CORE", job},
	{"time", "TIMELIMIT", job},
	{"tres-bind", "TRES_BIND", job},
	{"tres-per-task", "TRES_PER_TASK", job},
	{"unbuffered", "UNBUFFEREDIO", step | flag},
	{"use-min-nodes", "USE_MIN_NODES", job | flag},
	{waitForSwitches, "WAIT4SWITCH", job},
	{"wckey", "WCKEY", job},
}

// waitForSwitches has a variable of its own, but is written as part of --switches.
const waitForSwitches = "wait4switch"

// ofForeign are the options of salloc that srun has as well: in an existing job they are
// passed to srun.
var ofForeign = []string{
	"cpus-per-task", "gpus", "gpus-per-node", "gpus-per-task", "gres", "mem", "mem-per-cpu", "nodelist", "nodes",
	"ntasks", "ntasks-per-core", "ntasks-per-node", "threads-per-core",
}

// notOptions are variables with the prefix that are not job options: those that scrun sets
// itself, and its log levels.
var notOptions = []string{
	"OCI_VERSION", "CONTAINER_ID", "PID", "BUNDLE", "SUBMISSION_BUNDLE", "PID_FILE", "SOCKET", "SPOOL_DIR",
	"SUBMISSION_CONFIG_FILE", "USER", "USER_ID", "GROUP", "GROUP_ID", "ROOT", "ROOTFS_PATH", "SUBMISSION_ROOTFS_PATH",
	"LOG_FILE", "LOG_FORMAT", "DEBUG", "STDERR_DEBUG", "SYSLOG_DEBUG", "FILE_DEBUG",
}

// A request maps job options to their values. Later values override earlier ones.
type request map[string]string

// CheckOption returns an error if a setting such as --partition=batch cannot be a job option.
// It is for the check of the site's configuration.
func CheckOption(setting string) error { return request{}.add(setting) }

// add adds a setting of the site: --NAME=VALUE or --NAME.
func (r request) add(setting string) error {
	name, value, hasValue := strings.Cut(strings.TrimPrefix(setting, "--"), "=")
	i := slices.IndexFunc(options, func(o option) bool { return o.name == name })
	if !strings.HasPrefix(setting, "--") || i < 0 {
		return fmt.Errorf("%w: unknown or unsupported option %q", ErrOption, setting)
	}
	if !hasValue && options[i].target&flag == 0 {
		return fmt.Errorf("%w: --%s needs a value", ErrOption, name)
	}
	if !hasValue {
		value = "yes"
	}
	return r.set(options[i], setting, value)
}

func (r request) set(o option, from, value string) error {
	if strings.ContainsAny(value, "\x00\n") {
		return fmt.Errorf("%w: the value of %s has a line break or NUL in it", ErrOption, from)
	}
	if value == "" {
		return fmt.Errorf("%w: %s is empty", ErrOption, from)
	}
	r[o.name] = value
	return nil
}

// addVariables adds the options in SCRUN_* variables. Variables of the container may be from
// the author of the image, so they cannot name programs of the host.
func (r request) addVariables(env []string, ofContainer bool) error {
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		variable, ok := strings.CutPrefix(name, variablePrefix)
		if !ok || slices.Contains(notOptions, variable) || strings.HasPrefix(variable, "ANNOTATION_") {
			continue
		}
		i := slices.IndexFunc(options, func(o option) bool { return o.variable == variable })
		switch {
		case i < 0:
			return fmt.Errorf("%w: unknown variable %s", ErrOption, name)
		case ofContainer && options[i].target&host != 0:
			return fmt.Errorf("%w: %s acts on the host, so the container's environment cannot set it", ErrOption, name)
		}
		if err := r.set(options[i], name, value); err != nil {
			return err
		}
	}
	return nil
}

// addAnnotations adds the options in annotations. They may be from the image, so they cannot
// name programs of the host.
func (r request) addAnnotations(annotations map[string]string) error {
	for key, value := range annotations {
		name, ok := strings.CutPrefix(key, AnnotationPrefix)
		if !ok {
			continue
		}
		i := slices.IndexFunc(options, func(o option) bool { return o.name == name })
		switch {
		case i < 0:
			return fmt.Errorf("%w: unknown annotation %s", ErrOption, key)
		case options[i].target&host != 0:
			return fmt.Errorf("%w: annotation %s acts on the host, so a container cannot set it", ErrOption, key)
		}
		if err := r.set(options[i], key, value); err != nil {
			return err
		}
	}
	return nil
}

// addResources adds the engine's limits: --cpus, --memory, --gpus.
func (r request) addResources(spec *specs.Spec) error {
	if spec.Linux != nil && spec.Linux.Resources != nil {
		if cpu := spec.Linux.Resources.CPU; cpu != nil && cpu.Quota != nil && *cpu.Quota > 0 && cpu.Period != nil && *cpu.Period > 0 {
			period := int64(*cpu.Period)
			r["cpus-per-task"] = fmt.Sprint((*cpu.Quota + period - 1) / period)
		}
		if memory := spec.Linux.Resources.Memory; memory != nil && memory.Limit != nil && *memory.Limit > 0 {
			r["mem"] = fmt.Sprintf("%dM", (*memory.Limit+1<<20-1)>>20)
		}
	}
	n, err := gpus(spec)
	if n > 0 {
		r["gpus"] = fmt.Sprint(n)
	}
	return err
}

// split returns the request as options for salloc and for srun. In an existing job there is
// only srun.
func (r request) split(foreign bool) (ofJob, ofStep []string) {
	done := map[string]bool{}
	for _, o := range options {
		value, ok := r[o.name]
		if !ok || done[o.name] || o.name == waitForSwitches {
			continue
		}
		if wait := r[waitForSwitches]; o.name == "switches" && wait != "" {
			value += "@" + wait
		}
		done[o.name] = true
		text := "--" + o.name + "=" + value
		if o.target&flag != 0 {
			switch strings.ToLower(value) {
			case "0", "no", "false":
				continue
			case "1", "yes", "true":
				text = "--" + o.name
			}
		}
		if o.target&job != 0 && !foreign {
			ofJob = append(ofJob, text)
		}
		if o.target&step != 0 || foreign && slices.Contains(ofForeign, o.name) {
			ofStep = append(ofStep, text)
		}
	}
	return ofJob, ofStep
}
