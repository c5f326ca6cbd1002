package doctor

import (
	"path/filepath"
	"strings"
)

func slurmChecks() []Check {
	return []Check{
		{"oci.conf", "how Slurm calls ocishim", ociConfCheck},
		{"slurm.conf", "settings of Slurm that containers depend on", slurmConf},
		{"plugstack", "other container plugins of Slurm", plugStack},
		{"munge", "munge's socket, for Slurm's commands in containers", mungeSocket},
	}
}

// confDirs are where slurm.conf may be; the first that has one counts.
func (p *Patient) confDir() string {
	dirs := []string{"/etc/slurm", "/run/slurm/conf", "/etc/slurm-llnl", "/usr/local/etc"}
	if path := p.getenv("SLURM_CONF"); filepath.IsAbs(path) {
		dirs = append([]string{filepath.Dir(path)}, dirs...)
	}
	for _, dir := range dirs {
		if p.Host.IsFile(filepath.Join(dir, "slurm.conf")) || p.Host.IsFile(filepath.Join(dir, "oci.conf")) {
			return dir
		}
	}
	return ""
}

// slurmVersion is such as 24.11.5; empty if it is not known.
func (p *Patient) slurmVersion() string {
	for _, program := range []string{"slurmd", "srun"} {
		out, err := p.Ask(program, "-V")
		if fields := strings.Fields(out); err == nil && len(fields) == 2 {
			return fields[1]
		}
	}
	return ""
}

func ociConfCheck(p *Patient) []Finding {
	dir := p.confDir()
	if dir == "" {
		return skip("this host has no slurm.conf")
	}
	path := filepath.Join(dir, "oci.conf")
	data, err := p.Host.ReadFile(path)
	if err != nil {
		if !p.Host.Exists(path) {
			return found(Fail, path+" is missing: Slurm ignores --container, and runs the command on the host", "copy a file of oci.conf.d there, and restart slurmd")
		}
		return found(Warn, path+" cannot be read: "+err.Error(), "chmod 644 "+path)
	}
	findings := checkOCIConf(path, p.slurmVersion(), string(data), p.Program)
	if late := p.changedSince(path); late != "" {
		findings = append(findings, Finding{Status: Warn, What: late, Fix: "restart slurmd, or scontrol reconfigure"})
	}
	return findings
}

// changedSince says that a file is newer than slurmd; empty if it is not.
func (p *Patient) changedSince(path string) string {
	for _, pidFile := range []string{"/run/slurmd.pid", "/run/slurm/slurmd.pid"} {
		began := p.Host.ModTime(pidFile)
		if !began.IsZero() && p.Host.ModTime(path).After(began) {
			return path + " was changed after slurmd had started"
		}
	}
	return ""
}

func slurmConf(p *Patient) []Finding {
	out, err := p.Ask("scontrol", "show", "config")
	if err != nil {
		return skip("scontrol show config: " + err.Error())
	}
	values := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(line, "=")
		values[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	var findings []Finding
	add := func(s Status, what, fix string) {
		findings = append(findings, Finding{Status: s, What: what, Fix: fix})
	}
	if kind := values["ProctrackType"]; kind != "" && kind != "proctrack/cgroup" {
		add(Warn, "ProctrackType is "+kind+": what a task leaves behind survives the step", "ProctrackType=proctrack/cgroup in slurm.conf")
	}
	if plugins := values["TaskPlugin"]; plugins != "" && !strings.Contains(plugins, "cgroup") {
		add(Warn, "TaskPlugin is "+plugins+": tasks are not kept to their memory, processors and devices", "TaskPlugin=task/cgroup,task/affinity in slurm.conf")
	}
	if plugin := values["JobContainerType"]; strings.Contains(plugin, "tmpfs") && !p.Host.Exists("/run/ocishim") {
		add(Fail, "JobContainerType is "+plugin+" and there is no /run/ocishim: state is in the job's own /tmp, where Slurm's cleanup does not find it",
			"copy oci.conf.d/tmpfiles.d/ocishim.conf to /etc/tmpfiles.d, and run systemd-tmpfiles --create")
	}
	if spool := values["SlurmdSpoolDir"]; strings.Contains(spool, "%") && strings.Contains(values["MpiDefault"], "pmix") {
		add(Warn, "SlurmdSpoolDir is "+spool+" with MpiDefault=pmix: the directory of PMIx is not found in containers", "a path without % patterns")
	}
	if limits := values["PropagateResourceLimits"]; limits == "ALL" {
		add(Warn, "PropagateResourceLimits is ALL: tasks get the submit host's limit of locked memory, which InfiniBand needs unlimited", "PropagateResourceLimitsExcept=MEMLOCK in slurm.conf")
	}
	if len(findings) == 0 {
		return ok("slurm.conf has what containers depend on")
	}
	return findings
}

// plugStack looks for plugins that answer --container as well.
func plugStack(p *Patient) []Finding {
	dir := p.confDir()
	if dir == "" {
		return skip("this host has no slurm.conf")
	}
	files := []string{filepath.Join(dir, "plugstack.conf")}
	for _, name := range p.Host.Names(filepath.Join(dir, "plugstack.conf.d")) {
		files = append(files, filepath.Join(dir, "plugstack.conf.d", name))
	}
	var findings []Finding
	for _, path := range files {
		data, err := p.Host.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			line, _, _ = strings.Cut(line, "#")
			for _, plugin := range []string{"pyxis", "shifter", "singularity"} {
				if strings.Contains(line, "spank_"+plugin) || strings.Contains(line, plugin+".so") {
					findings = append(findings, Finding{
						Status: Warn, What: path + " loads " + plugin + " beside ocishim: two answers to one question", Fix: "remove one of them",
					})
				}
			}
		}
	}
	if len(findings) == 0 {
		return ok("no other container plugin is loaded")
	}
	return findings
}

func mungeSocket(p *Patient) []Finding {
	const path = "/run/munge/munge.socket.2"
	wants := false
	for _, edit := range p.Config.HPC.Edits {
		wants = wants || edit == "slurm" || edit == "munge"
	}
	switch {
	case !wants:
		return skip("hpc.edits has neither slurm nor munge")
	case !p.Host.Exists(path):
		return found(Warn, path+" is missing: Slurm's commands do not work in containers", "start munged with this socket, or name the other one in hpc.mounts")
	}
	return ok(path + " is there")
}
