package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/text"
)

// An ociConf is what is wrong with an oci.conf, for one version of Slurm (oci.conf(5), and
// src/interfaces/serializer and slurmstepd's container.c of each version).
type ociConf struct {
	path, version string
	values        map[string]string
	findings      []Finding
}

// keysSince are the keys of oci.conf, by the version that has them first.
func keysSince() map[string][]string {
	return map[string][]string{
		"22.05": {"ContainerPath", "CreateEnvFile", "RunTimeCreate", "RunTimeDelete", "RunTimeKill", "RunTimeQuery", "RunTimeRun", "RunTimeStart"},
		"23.02": {
			"EnvExclude", "RunTimeEnvExclude", "MountSpoolDir", "DisableCleanup", "DisableHooks", "FileDebug", "IgnoreFileConfigJson",
			"StdIODebug", "SyslogDebug", "SrunPath", "SrunArgs", "DebugFlags",
		},
	}
}

// patternsSince are the replacement patterns, by the version that has them first.
func patternsSince() map[string]string {
	return map[string]string{"22.05": "%@bejnrstu", "23.02": "Ump", "26.05": "Z"}
}

// rootsLines are the keys of the lines that root runs in Slurm's cleanup.
var rootsLines = []string{"RunTimeQuery", "RunTimeKill", "RunTimeDelete"}

// newer reports whether a version is at least another one. An unknown version has everything.
func newer(version, least string) bool {
	return version == "" || host.CompareVersions(version, least) >= 0
}

// checkOCIConf finds what makes Slurm of this version fail, or trust what users wrote.
func checkOCIConf(path, version, content, program string) []Finding {
	c := &ociConf{path: path, version: version, values: map[string]string{}}
	c.parse(content)
	c.checkPatterns()
	c.checkLines(program)
	if len(c.findings) == 0 {
		return ok(path + " fits Slurm " + version)
	}
	return c.findings
}

func (c *ociConf) add(s Status, what, fix string) {
	c.findings = append(c.findings, Finding{Status: s, What: c.path + ": " + what, Fix: fix})
}

func (c *ociConf) parse(content string) {
	for line := range strings.Lines(content) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		key, value, found := strings.Cut(line, "=")
		switch key = strings.TrimSpace(key); {
		case line == "":
		case !found || strings.ContainsAny(key, " \t"):
			c.add(Fail, "line "+text.Quoted(line)+" is not KEY=VALUE", "Slurm stops at it: compare with oci.conf.d/run.conf")
		default:
			c.checkKey(key)
			c.values[key] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
}

func (c *ociConf) checkKey(key string) {
	var all []string
	for since, keys := range keysSince() {
		same := func(known string) bool { return strings.EqualFold(known, key) }
		if slices.ContainsFunc(keys, same) {
			if !newer(c.version, since) {
				c.add(Fail, key+" is known from Slurm "+since+" on, and this is "+c.version+": every step with a container fails", "use oci.conf.d/22.05.conf")
			}
			return
		}
		all = append(all, keys...)
	}
	fix := "remove it"
	if near := text.Nearest(key, all); near != "" {
		fix = "write " + near
	}
	c.add(Fail, "unknown key "+text.Printable(key)+": every step with a container fails", fix)
}

func (c *ociConf) checkPatterns() {
	for _, key := range c.keys() {
		if !strings.HasPrefix(key, "RunTime") || key == "RunTimeEnvExclude" {
			continue
		}
		value := c.values[key]
		for i := 0; i+1 < len(value); i++ {
			if value[i] == '%' {
				c.checkPattern(key, value[i:i+2])
				i++
			}
		}
	}
}

func (c *ociConf) checkPattern(key, p string) {
	known := false
	for since, patterns := range patternsSince() {
		if !strings.Contains(patterns, p[1:]) {
			continue
		}
		known = true
		if !newer(c.version, since) {
			c.add(Fail, key+" has "+p+", which Slurm knows from "+since+" on", "use the file of oci.conf.d for Slurm "+c.version)
		}
	}
	if !known {
		c.add(Fail, key+" has "+p+", which no Slurm knows", "the patterns are in oci.conf(5)")
	}
	if slices.Contains(rootsLines, key) && strings.Contains("%b%r%e%@%Z", p) {
		c.add(Fail, key+" has "+p+", which users choose, in a line that root runs by /bin/sh: a user can make root run anything",
			"use only %n %u %j %s %t there, as oci.conf.d does")
	}
}

func (c *ociConf) keys() []string {
	var keys []string
	for key := range c.values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// checkLines checks what the lines call.
func (c *ociConf) checkLines(program string) {
	run := c.values["RunTimeRun"]
	if run != "" && !strings.HasPrefix(run, "exec ") {
		c.add(Warn, "RunTimeRun does not begin with exec: a shell stays in between, and dies of signals that the application would handle", `write RunTimeRun="exec `+run+`"`)
	}
	if run == "" && c.values["RunTimeCreate"] == "" {
		c.add(Fail, "neither RunTimeRun nor RunTimeCreate is set: --container has no effect", "copy a file of oci.conf.d")
	}
	ignores := strings.EqualFold(c.values["IgnoreFileConfigJson"], "true")
	if ignores && c.values["RunTimeCreate"] != "" {
		c.add(Fail, "IgnoreFileConfigJson with RunTimeCreate: slurmd stops", "use RunTimeRun, as oci.conf.d/image.conf does")
	}
	if strings.EqualFold(c.values["CreateEnvFile"], "newline") {
		c.add(Warn, "CreateEnvFile=newline loses variables with line breaks", "leave it out, or write CreateEnvFile=null")
	}
	if newer(c.version, "23.02") && !strings.Contains(c.values["EnvExclude"], "SLURM_CONF") {
		c.add(Warn, "EnvExclude lets SLURM_CONF through, which names a file that is not in containers", `EnvExclude="^(SLURM_CONF|SLURM_CONF_SERVER)="`)
	}
	if query := c.values["RunTimeQuery"]; strings.Contains(query, "ocishim state") && !strings.Contains(query, "--missing-ok") {
		c.add(Warn, "RunTimeQuery lacks --missing-ok: Slurm writes an error of its own into the output of jobs whose container failed", "compare with oci.conf.d/run.conf")
	}
	for _, key := range c.keys() {
		c.checkProgram(key, program)
	}
}

// checkProgram compares what a line calls with the program that runs now.
func (c *ociConf) checkProgram(key, program string) {
	if !strings.HasPrefix(key, "RunTime") || key == "RunTimeEnvExclude" {
		return
	}
	words := strings.Fields(strings.TrimPrefix(c.values[key], "exec "))
	if len(words) == 0 {
		return
	}
	switch {
	case !strings.HasSuffix(words[0], "/ocishim"):
		c.add(Warn, fmt.Sprintf("%s calls %s, which is not ocishim", key, text.Printable(words[0])), "the other lines must call the same runtime")
	case words[0] != program:
		c.add(Warn, fmt.Sprintf("%s calls %s, and this is %s", key, text.Printable(words[0]), program), "call doctor by the path that Slurm uses")
	}
	if slices.Contains(words, "--root") {
		c.add(Warn, key+" has --root: root's cleanup must find the state of every user", "leave --root out: all verbs look at the same places")
	}
}
