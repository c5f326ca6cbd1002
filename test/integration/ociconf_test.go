//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ociConf returns the oci.conf of a column: for ocishim a file of oci.conf.d, unchanged, and for
// runc and crun the example of Slurm's documentation.
func ociConf(col column) (string, error) {
	if col.runtime != "ocishim" {
		return documentedConf(col)
	}
	file := map[string]string{
		"26.05 run":    "run.conf",
		"26.05 run-sh": "run.conf",
		"26.05 oci":    "run.conf",
		"26.05 create": "create-start.conf",
		"26.05 image":  "image.conf",
		"24.11 run":    "run.conf",
		"24.11 run-sh": "run.conf",
		"24.11 oci":    "run.conf",
		"24.11 create": "create-start.conf",
		"24.11 image":  "image.conf",
		"22.05 run":    "22.05.conf",
		"22.05 run-sh": "22.05.conf",
	}[col.slurm+" "+col.mode]
	if file == "" {
		return "", fmt.Errorf("oci.conf.d has no file for Slurm %s by %s", col.slurm, col.mode)
	}
	conf, err := os.ReadFile(filepath.Join(repo, "oci.conf.d", file))
	if err != nil {
		return "", err
	}
	switch col.mode {
	case "run-sh":
		return withoutExec(string(conf))
	case "oci":
		return isolated(string(conf))
	}
	return string(conf), nil
}

// isolated returns the configuration of a site whose default are the bundle's own namespaces, so
// that libcontainer launches.
func isolated(conf string) (string, error) {
	changed := strings.Replace(conf, `RunTimeRun="exec /usr/local/bin/ocishim run `, `RunTimeRun="exec /usr/local/bin/ocishim run --profile oci `, 1)
	if changed == conf {
		return "", fmt.Errorf("no RunTimeRun with `ocishim run` in the file: oci would test nothing else than run")
	}
	return changed, nil
}

// withoutExec returns the configuration of a site that follows the form of Slurm's documentation.
func withoutExec(conf string) (string, error) {
	changed := strings.Replace(conf, `RunTimeRun="exec `, `RunTimeRun="`, 1)
	if changed == conf {
		return "", fmt.Errorf("no RunTimeRun with exec in the file: run-sh would test nothing else than run")
	}
	return changed, nil
}

// documentedConf returns the example of Slurm's containers.html in that version; mode run adds the
// exec that it lacks.
func documentedConf(col column) (string, error) {
	root, head := "/run/user/%U/", "EnvExclude=\"^(SLURM_CONF|SLURM_CONF_SERVER)=\"\nRunTimeEnvExclude=\"^(SLURM_CONF|SLURM_CONF_SERVER)=\"\n"
	if col.slurm == "22.05" {
		root, head = "/tmp/", ""
	}
	run, create := "run %n.%u.%j.%s.%t -b %b", "create %n.%u.%j.%s.%t -b %b"
	if col.runtime == "crun" {
		run, create = "run --bundle %b %n.%u.%j.%s.%t", "create --bundle %b %n.%u.%j.%s.%t"
	}
	lines := map[string]string{
		"RunTimeQuery":  "state %n.%u.%j.%s.%t",
		"RunTimeKill":   "kill -a %n.%u.%j.%s.%t",
		"RunTimeDelete": "delete --force %n.%u.%j.%s.%t",
	}
	exec := ""
	switch col.mode {
	case "run":
		lines["RunTimeRun"], exec = run, "exec "
	case "run-sh":
		lines["RunTimeRun"] = run
	case "create":
		lines["RunTimeCreate"], lines["RunTimeStart"] = create, "start %n.%u.%j.%s.%t"
	default:
		return "", fmt.Errorf("no mode %q: run, run-sh or create", col.mode)
	}
	conf := head
	for key, args := range lines {
		prefix := ""
		if key == "RunTimeRun" {
			prefix = exec
		}
		conf += fmt.Sprintf("%s=\"%s%s --rootless=true --root=%s %s\"\n", key, prefix, col.runtime, root, args)
	}
	return conf, nil
}
