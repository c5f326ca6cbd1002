//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// TestPyxis types what users of pyxis type, on real Slurm with the plugin in place of pyxis: the
// commands of its documentation and of its tests, and a site's settings.
func TestPyxis(t *testing.T) {
	prepare(t)
	besideOthers(t)
	for _, slurm := range []string{"24.11", "26.05"} {
		t.Run(slurm, func(t *testing.T) {
			t.Parallel()
			col := column{runtime: "ocishim", slurm: slurm, mode: "run"}
			prepareColumn(t, col)
			c := newCluster(t, col, "pyxis")
			c.oci = ""                                              // none is needed
			said := strings.Fields(mustRun(t, "hack/spank", slurm)) // the path comes last
			plugin := said[len(said)-1]
			plugstack := filepath.Join(t.TempDir(), "plugstack.conf")
			writePlugstack(t, plugstack, "required "+plugin)
			c.etc = []string{plugstack}
			t.Cleanup(c.down)
			c.start(t, 2)
			c.serveImages(t)
			for _, line := range pyxisLines() {
				line.run(t, c)
			}
			c.wantPyxisJobs(t)
			c.wantPyxisSettings(t, plugin)
			if out, err := c.asRoot("sinfo", "-h", "-o", "%D %t"); err != nil || out != "2 idle\n" {
				t.Errorf("after failed tasks: %v: %s", err, out)
			}
		})
	}
}

func writePlugstack(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// pyxisImage is the configuration of the image.
const pyxisImage = `{"Env":["PATH=/usr/bin:/bin","GREETING=hello","CUDA_VERSION=11.8.0","LD_LIBRARY_PATH=/image/lib"],"WorkingDir":"/usr",` +
	`"Entrypoint":["/bin/sh","-c","echo banner; BY=entrypoint-$FOO exec \"$@\"","entry"],"Cmd":["true"]}`

// serveImages serves an image as docker.io's almalinux:9 and as registry.example's team/app:1, by a
// registry in the cluster's network, and makes a squashfs file of it in alice's home.
func (c *cluster) serveImages(t *testing.T) {
	t.Helper()
	for _, program := range []string{"docker-registry", "skopeo", "mksquashfs"} {
		if _, err := exec.LookPath(program); err != nil {
			skip(t, program+" is missing: run hack/deps test")
		}
	}
	dir := t.TempDir()
	rootfs := filepath.Join(dir, "rootfs")
	host(t, "cp", "-a", filepath.Join(repo, sourceBundle, "rootfs"), rootfs)
	if err := os.WriteFile(filepath.Join(rootfs, "etc/os-release"), []byte("PRETTY_NAME=\"AlmaLinux 9.7\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	host(t, "mksquashfs", rootfs, c.onHost("/home/alice/image.sqsh"), "-quiet", "-no-progress", "-all-root")
	mustRun(t, "hack/layout", filepath.Join(dir, "layout"), "9", rootfs, pyxisImage)
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil,
		"version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: \"127.0.0.1:5000\"}\n", dir), 0o644); err != nil {
		t.Fatal(err)
	}
	inside := []string{"--target", strings.Split(c.root, "/")[2], "--net", "--"}
	registry := exec.Command("nsenter", append(inside, "docker-registry", "serve", config)...)
	if err := registry.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = registry.Process.Kill()
		_ = registry.Wait()
	})
	for _, name := range []string{"hub/library/almalinux:9", "example/team/app:1"} {
		var out []byte
		if !pace.Until(20*time.Second, func() (copied bool) {
			var err error
			out, err = exec.Command("nsenter", append(inside, "skopeo", "copy", "--dest-tls-verify=false",
				"oci:"+filepath.Join(dir, "layout")+":9", "docker://127.0.0.1:5000/"+name)...).CombinedOutput()
			return err == nil
		}) {
			t.Fatalf("serve %s: %s", name, out)
		}
	}
	conf := ""
	for prefix, location := range map[string]string{"docker.io": "hub", "registry.example": "example"} {
		conf += fmt.Sprintf("[[registry]]\nprefix = %q\nlocation = \"127.0.0.1:5000/%s\"\ninsecure = true\n", prefix, location)
	}
	if err := os.MkdirAll(c.onHost("/etc/containers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.onHost("/etc/containers/registries.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
}

// host runs a program on this machine.
func host(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
}

// A pyxisLine is a command line of srun's, with variables of the job before it.
type pyxisLine struct {
	env    []string
	args   []string
	status int
	stdout string // all of it
	stderr string // a part of it; empty for none
}

func (l pyxisLine) run(t *testing.T, c *cluster) {
	t.Helper()
	ctx, cancel := pace.Context(context.Background(), 30*time.Second)
	defer cancel()
	cmd := c.command(ctx, "alice", inHome(append(append([]string{"env"}, l.env...), l.args...)...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its status is looked at
	said := queueing.ReplaceAllString(errs.String(), "")
	if got := cmd.ProcessState.ExitCode(); got != l.status || out.String() != l.stdout || !strings.Contains(said, l.stderr) || l.stderr == "" && said != "" {
		t.Errorf("%q %q: status %d, want %d; stdout %q, want %q; stderr %q, want %q", l.env, l.args, got, l.status, out.String(), l.stdout, said, l.stderr)
	}
}

// words splits a line where it has spaces. What is behind a bar is one word, for sh -c.
func words(line string) []string {
	options, script, found := strings.Cut(line, "|")
	args := append([]string{"srun"}, strings.Fields(options)...)
	if found {
		args = append(args, "sh", "-c", script)
	}
	return args
}

// with returns the command line with a container of the image.
func with(line string) []string { return words("--container-image=almalinux:9 " + line) }

// mounted is a script that says whether something is mounted at a place.
func mounted(at string) string {
	return `while read -r _ _ _ _ where _; do [ "$where" = ` + at + ` ] && found=yes; done </proc/self/mountinfo; echo ${found:-no}`
}

// pyxisLines are the lines, each with what pyxis does or, where docs/pyxis.md says so, with what we do.
func pyxisLines() []pyxisLine {
	var lines []pyxisLine
	for _, group := range [][]pyxisLine{imageLines(), mountLines(), otherLines(), variableLines(), wrongLines(), failingLines()} {
		lines = append(lines, group...)
	}
	return lines
}

func imageLines() []pyxisLine {
	const pretty, alma = "grep PRETTY /etc/os-release", "PRETTY_NAME=\"AlmaLinux 9.7\"\n"
	return []pyxisLine{
		{args: words("--container-image=almalinux:9 " + pretty), stdout: alma},
		{args: words("--container-image almalinux:9 " + pretty), stdout: alma},
		{args: words("--container-image=docker://almalinux:9 " + pretty), stdout: alma},
		{args: words("--container-image=docker.io#almalinux:9 " + pretty), stdout: alma},
		{args: words("--container-image=docker.io/almalinux:9 " + pretty), stdout: alma},
		{args: words("--container-image=registry.example#team/app:1 " + pretty), stdout: alma},
		{args: words("--container-image=./image.sqsh " + pretty), stdout: alma},
		{args: words("--container-image=/home/alice/image.sqsh " + pretty), stdout: alma},
		{args: with("-n4 |echo $GREETING"), stdout: strings.Repeat("hello\n", 4)},
		{args: with("|exit 7"), status: 7, stderr: "exit code 7"},
		{args: with("|id -un"), stdout: "alice\n"},
		{args: words("|echo ${GREETING:-none}"), stdout: "none\n"}, // no option, no container
	}
}

func mountLines() []pyxisLine {
	return []pyxisLine{
		{args: with("--container-mounts=/etc/os-release:/host/os-release grep -c PRETTY_NAME=.Debian /host/os-release"), stdout: "1\n"},
		{args: with("--container-mounts=/home:/test-mnt |" + mounted("/test-mnt")), stdout: "yes\n"},
		{args: with("--container-mounts=./:/test-mnt |" + mounted("/test-mnt")), stdout: "yes\n"},
		{args: with("--container-mounts=/dev/null:/null |[ -c /null ] && echo device"), stdout: "device\n"},
		{args: with("--container-mounts=./:/test-mnt,/dev/null:/null,/home:/host/home |" + mounted("/host/home")), stdout: "yes\n"},
		{args: with("--container-mounts=/var/lib |" + mounted("/var/lib")), stdout: "yes\n"},
		{args: with("--container-mounts=/var/lib,/var/lib |" + mounted("/var/lib")), stdout: "yes\n"},
		{args: with("--container-mounts=/tmp:/mnt:ro |" + mounted("/mnt") + "; : >/mnt/made"), status: 2, stdout: "yes\n", stderr: "Read-only file system"},
		{args: with("--container-mounts=/tmp:/mnt:unbindable+ro |" + mounted("/mnt") + "; : >/mnt/made"), status: 2, stdout: "yes\n", stderr: "Read-only file system"},
		{args: with("--container-mounts=tmpfs:/mytmpfs |: >/mytmpfs/made && " + mounted("/mytmpfs")), stdout: "yes\n"},
		{args: with("--container-mounts=umount:/home/alice --container-workdir=/ |" + mounted("/home/alice")), stdout: "no\n"},
		{args: []string{"srun", "--container-image=almalinux:9", "--container-mounts=/tmp:/mnt/my mount", "sh", "-c", mounted(`/mnt/my\\040mount`)}, stdout: "yes\n"},
		{args: with("--container-mounts=/nonexistent/foo:/mnt true"), status: 125, stderr: "--container-mounts: mount /nonexistent/foo: there is no such file"},
		{args: with("--container-mounts=/tmp:/mnt,/nonexistent/foo:/mnt2 true"), status: 125, stderr: "mount /nonexistent/foo"},
	}
}

func otherLines() []pyxisLine {
	library := []string{"CUDA_VERSION=12.0.0", "LD_LIBRARY_PATH=/host/lib"}
	const show = "|echo $CUDA_VERSION $LD_LIBRARY_PATH"
	return []pyxisLine{
		{args: with("|pwd"), stdout: "/usr\n"}, // the image's
		{args: with("--container-workdir=/usr/bin |pwd"), stdout: "/usr/bin\n"},
		{args: with("--container-workdir=/pyxis true"), status: 125, stderr: "--container-workdir /pyxis: the container has no such directory"},
		{args: with("--container-mount-home |" + mounted("/home/alice")), stdout: "yes\n"},
		{args: with("--no-container-mount-home --container-workdir=/ |" + mounted("/home/alice")), stdout: "no\n"},
		{env: []string{"FOO=bar"}, args: with("|echo $FOO"), stdout: "bar\n"},
		{env: library, args: with(show), stdout: "11.8.0 /image/lib\n"},
		{env: library, args: with("--container-env CUDA_VERSION " + show), stdout: "12.0.0 /image/lib\n"},
		{env: library, args: with("--container-env LD_LIBRARY_PATH,CUDA_VERSION " + show), stdout: "12.0.0 /host/lib\n"},
		{args: with("--container-env=NOT_SET,CUDA_VERSION " + show), stdout: "11.8.0 /image/lib\n"},
		{args: with("--container-entrypoint |echo $BY"), stdout: "banner\nentrypoint-\n"},
		{env: []string{"FOO=x"}, args: with("--container-entrypoint --container-entrypoint-log --container-env=FOO |echo $BY"), stdout: "banner\nentrypoint-x\n"},
		{args: with("--no-container-entrypoint |echo ${BY:-none}"), stdout: "none\n"},
		{args: with("--container-readonly |: >/newfile"), status: 2, stderr: "Read-only file system"},
		{args: with("--container-writable |: >/newfile && echo made"), stdout: "made\n"},
		{args: with("--container-remap-root |id -u"), stdout: "0\n"},
		{args: with("--no-container-remap-root |id -u"), stdout: "1000\n"},
		{args: with("--container-unshare=net |n=0; while read -r _; do n=$((n+1)); done </proc/net/dev; echo $n"), stdout: "3\n"}, // lo alone
	}
}

func variableLines() []pyxisLine {
	set := func(variables ...string) []string {
		for i, v := range variables {
			variables[i] = "PYXIS_CONTAINER_" + v
		}
		return variables
	}
	image := set("IMAGE=almalinux:9")
	return []pyxisLine{
		{env: image, args: words("|echo $GREETING"), stdout: "hello\n"},
		{env: set("IMAGE=almalinux:8"), args: with("|echo $GREETING"), stdout: "hello\n"},
		{env: set("IMAGE="), args: words("|echo ${GREETING:-none}"), stdout: "none\n"},
		{env: set("MOUNTS=/home:/test-mnt"), args: with("|" + mounted("/test-mnt")), stdout: "yes\n"},
		{env: set("MOUNTS=/home:/mnt-env"), args: with("--container-mounts=/tmp:/mnt-cli |" + mounted("/mnt-env")), stdout: "no\n"},
		{env: set("WORKDIR=/usr/bin"), args: with("|pwd"), stdout: "/usr/bin\n"},
		{env: set("WORKDIR=/usr/bin"), args: with("--container-workdir=/etc |pwd"), stdout: "/etc\n"},
		{env: set("MOUNT_HOME=0", "WORKDIR=/"), args: with("|" + mounted("/home/alice")), stdout: "no\n"},
		{env: set("MOUNT_HOME=0"), args: with("--container-mount-home |" + mounted("/home/alice")), stdout: "yes\n"},
		{env: set("ENTRYPOINT=1"), args: with("|echo $BY"), stdout: "banner\nentrypoint-\n"},
		{env: set("ENTRYPOINT=1"), args: with("--no-container-entrypoint |echo ${BY:-none}"), stdout: "none\n"},
		{env: set("ENTRYPOINT=yes", "ENTRYPOINT_LOG=1"), args: with("|echo $BY"), stdout: "banner\nentrypoint-\n"},
		{env: set("ENTRYPOINT=maybe"), args: with("|echo ${BY:-none}"), stdout: "none\n"},
		{env: append(set("ENV=CUDA_VERSION"), "CUDA_VERSION=12.0.0"), args: with("|echo $CUDA_VERSION"), stdout: "12.0.0\n"},
		{env: append(set("ENV=CUDA_VERSION"), "CUDA_VERSION=12.0.0", "LD_LIBRARY_PATH=/host/lib"), args: with("--container-env=LD_LIBRARY_PATH |echo $CUDA_VERSION $LD_LIBRARY_PATH"), stdout: "11.8.0 /host/lib\n"},
		{env: set("READONLY=1"), args: with("|: >/newfile"), status: 2, stderr: "Read-only file system"},
		{env: set("READONLY=0"), args: with("|: >/newfile && echo made"), stdout: "made\n"},
		{env: set("READONLY=0", "WRITABLE=0"), args: with("|: >/newfile"), status: 2, stderr: "Read-only file system"},
		{env: set("REMAP_ROOT=1"), args: with("|id -u"), stdout: "0\n"},
		{env: set("REMAP_ROOT=1"), args: with("--no-container-remap-root |id -u"), stdout: "1000\n"},
		{env: set("UNSHARE=net"), args: with("|n=0; while read -r _; do n=$((n+1)); done </proc/net/dev; echo $n"), stdout: "3\n"},
		{env: set("WRITABLE=1"), args: with("--container-readonly |: >/newfile"), status: 2, stderr: "Read-only file system"},
		{env: []string{"OCISHIM_WORKDIR=/etc", "PYXIS_CONTAINER_WORKDIR=/usr/bin"}, args: with("|pwd"), stdout: "/etc\n"},
		{env: []string{"OCISHIM_WORKDIR=/etc"}, args: with("--container-workdir=/usr/bin |pwd"), stdout: "/usr/bin\n"},
		{env: set("UNSHARE=foo"), args: words("|echo ran"), stdout: "ran\n", stderr: "PYXIS_CONTAINER_UNSHARE foo: unknown namespace"},
		{env: set("UNSHARE=foo"), args: with("true"), status: 1, stderr: "PYXIS_CONTAINER_UNSHARE foo: unknown namespace"},
		{env: set("NAME=x"), args: words("true"), status: 1, stderr: "PYXIS_CONTAINER_NAME x: this version of ocishim has no named containers"},
	}
}

// wrongLines are errors of srun: there is no job, or no step.
func wrongLines() []pyxisLine {
	var lines []pyxisLine
	for options, says := range map[string]string{
		"--container-mounts=:":                                  "neither may be empty",
		"--container-mounts=/tmp:":                              "neither may be empty",
		"--container-mounts=devpts:/x:ro":                       "--container-mounts devpts: a source begins with /",
		"--container-mounts=tmpfs":                              "it needs a destination",
		"--container-mounts=":                                   "--container-mounts: it needs a value",
		"--container-workdir=":                                  "--container-workdir: it needs a value",
		"--container-env=":                                      "--container-env: it needs a value",
		"--container-env FOO,":                                  "an empty name",
		"--container-env FOO=1":                                 "write only the name",
		"--container-save=/":                                    "a directory",
		"--container-save=./":                                   "a directory",
		"--container-unshare=net,foo":                           "unknown namespace",
		"--container-unshare=":                                  "it needs a value",
		"--container-name=/tmp/foo":                             "no named containers",
		"--container-name=args:exec":                            "no named containers",
		"--container-image=almalinux:8":                         "--container-image is given twice, with different values",
		"--container-readonly -n1 --container-writable":         "--container-readonly and --container-writable are both given",
		"--container-mount-home --no-container-mount-home":      "both given",
		"--container-remap-root --no-container-remap-root":      "both given",
		"--container-mounts=/tmp:/a --container-mounts=/tmp:/b": "a list with commas",
		"--container-workdir=/a --container-workdir=/b":         "given twice",
	} {
		lines = append(lines, pyxisLine{args: with(options + " true"), status: 255, stderr: says})
	}
	return append(lines, []pyxisLine{
		{args: words("--container-image= true"), status: 255, stderr: "--container-image: it needs a value"},
		{args: []string{"srun", "--container-image=a\nb", "true"}, status: 255, stderr: "a control character"},
		{args: []string{"srun", "--container-image=" + strings.Repeat("x", 70000), "true"}, status: 255, stderr: "longer than 65536 bytes"},
		{
			args: words("--container-mounts=/a:/a --container-env=A --container-readonly |echo ran"), stdout: "ran\n",
			stderr: "ignored without --container-image: --container-mounts, --container-readonly, --container-env",
		},
	}...)
}

// failingLines are errors of the task.
func failingLines() []pyxisLine {
	return []pyxisLine{
		{args: words("--container-image=thisimagedoesntexist true"), status: 125, stderr: "404 Not Found"},
		{args: words("--container-image=./ true"), status: 125, stderr: "no image"},
		{args: words("--container-image=/dev/urandom true"), status: 125, stderr: "no image"},
		{args: words("--container-image=./nonexistent.sqsh true"), status: 125, stderr: "nonexistent.sqsh"},
		{args: words("--container-image=" + strings.Repeat("x", 2048) + " true"), status: 125, stderr: "error"},
		{args: words("--container-image=-x true"), status: 125, stderr: "error"},
		{args: with("nosuchprogram"), status: 127, stderr: "command not found"},
	}
}

// wantPyxisJobs runs batch jobs, allocations, and steps of several tasks, hosts and programs.
func (c *cluster) wantPyxisJobs(t *testing.T) {
	script := func(script, submit, stdout string) {
		t.Helper()
		c.want(t, "alice", "#!/bin/sh\n"+script, 0, stdout, inHome("sh", "-c", "cat >job.sh && "+submit)...)
	}
	script("#SBATCH --container-image=docker.io\\#almalinux:9\necho batch $GREETING $PWD $1 ${0##*/}\n",
		`sbatch --parsable --wait -o out job.sh arg >/dev/null && cat out`, "batch hello /usr arg slurm_script\n")
	script("echo batch $GREETING\n",
		`sbatch --parsable --wait -o out --container-image=almalinux:9 job.sh >/dev/null && cat out`, "batch hello\n")
	script("echo batch $GREETING\n",
		`PYXIS_CONTAINER_IMAGE=almalinux:9 sbatch --parsable --wait -o out job.sh >/dev/null && cat out`, "batch hello\n")
	script("echo batch ${GREETING:-none}\nsrun --container-image=almalinux:9 -n2 sh -c 'echo $GREETING'\nsrun sh -c 'echo ${GREETING:-none}'\n",
		`sbatch --parsable --wait -n2 -o out job.sh >/dev/null && cat out`, "batch none\nhello\nhello\nnone\nnone\n")
	script("#SBATCH --container-image=nothing:1\necho ran\n",
		`sbatch --parsable --wait -o out job.sh >/dev/null; echo $?; grep -c 'error: ' out`, "125\n1\n")
	script("", `salloc --container-image=almalinux:9 sh -c 'echo ${GREETING:-none}; srun sh -c "echo \$GREETING"' 2>/dev/null`, "none\nhello\n")

	script("", `salloc -Q --container-image=nothing:1 sh -c 'srun --container-image=almalinux:9 sh -c "echo \$GREETING"
		srun --container-image=almalinux:9 --container-image=nothing:2 true 2>&1 | grep -c "given twice"'`, "hello\n1\n")

	// One line for each host, whatever the number of tasks.
	script("", `srun -N2 -n8 --container-image=nothing:2 true 2>&1 | grep -c 'image: error: '`, "2\n")
	script("", `srun -N2 -n8 --container-image=almalinux:9 --container-workdir=/nowhere true 2>&1 | grep -c 'ocishim: error: '`, "2\n")

	script("", `printf '0 id -un\n1 readlink /proc/self/cwd\n' >programs
		srun -n2 --container-image=almalinux:9 --multi-prog programs | sort`, "/usr\nalice\n")
	const odd = "two  words|--|-x|$HOME|it's"
	c.want(t, "alice", "", 0, odd, inHome(append([]string{"srun", "--container-image=almalinux:9", "sh", "-c", `printf %s "$1|$2|$3|$4|$5"`, "sh"}, strings.Split(odd, "|")...)...)...)
}

// wantPyxisSettings changes what a site writes in plugstack.conf.
func (c *cluster) wantPyxisSettings(t *testing.T, plugin string) {
	at := c.onHost("/etc/slurm/plugstack.conf")
	image := []string{"PYXIS_CONTAINER_IMAGE=almalinux:9"}

	writePlugstack(t, at, "required "+plugin+" execute_entrypoint=1 ocishim=/usr/local/bin/ocishim")
	pyxisLine{args: with("|echo $BY"), stdout: "banner\nentrypoint-\n"}.run(t, c)
	pyxisLine{args: with("--no-container-entrypoint |echo ${BY:-none}"), stdout: "none\n"}.run(t, c)

	writePlugstack(t, at, "required "+plugin+" sbatch_support=0")
	c.want(t, "alice", "#!/bin/sh\necho ${GREETING:-none}; srun sh -c 'echo $GREETING'\n", 0, "none\nhello\n", inHome("sh", "-c",
		`cat >job.sh; PYXIS_CONTAINER_IMAGE=almalinux:9 sbatch --parsable --wait -o out job.sh >/dev/null && cat out`)...)
	pyxisLine{args: []string{"sbatch", "--container-image=almalinux:9", "job.sh"}, status: 255, stderr: "container-image"}.run(t, c)

	writePlugstack(t, at, "required "+plugin+" ocishim=/nonexistent/ocishim")
	pyxisLine{args: with("true"), status: 2, stderr: "/nonexistent/ocishim"}.run(t, c)

	// A wrong setting, and a task that would otherwise run outside of the container.
	for _, setting := range []string{"nonsense=1", "sbatch_support=maybe", "ocishim=ocishim", "execute_entrypoint"} {
		writePlugstack(t, at, "required "+plugin+" "+setting)
		pyxisLine{args: words("true"), status: 1, stderr: "plugstack.conf: " + setting + ": expected ocishim=/PATH"}.run(t, c)
	}
	writePlugstack(t, at, "optional "+plugin+" nonsense=1")
	pyxisLine{env: image, args: words("-n2 |echo ran"), status: 125, stderr: "ocishim: error: plugstack.conf: nonsense=1"}.run(t, c)
	pyxisLine{args: words("|echo ran"), stdout: "ran\n", stderr: "nonsense=1"}.run(t, c)

	// Beside something called pyxis, it leaves everything to that.
	source := filepath.Join(t.TempDir(), "pyxis.c")
	if err := os.WriteFile(source, []byte("#include <slurm/spank.h>\nSPANK_PLUGIN(pyxis, 1)\nint slurm_spank_init(spank_t s, int c, char **v) { (void)s; (void)c; (void)v; return 0; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	headers := mustGlob(t, filepath.Join(repo, "build/spank/headers-"+c.slurm+"*/slurm"))
	if len(headers) == 0 {
		t.Fatal("no headers of Slurm " + strconv.Quote(c.slurm))
	}
	host(t, "gcc", "-shared", "-fPIC", "-I"+filepath.Dir(headers[len(headers)-1]), "-o", c.onHost("/usr/local/lib/spank_pyxis.so"), source)
	writePlugstack(t, at, "required "+plugin+"\nrequired /usr/local/lib/spank_pyxis.so")
	pyxisLine{args: words("true"), status: 1, stderr: "spank_pyxis.so is in plugstack.conf as well"}.run(t, c)
	writePlugstack(t, at, "optional "+plugin+"\noptional /usr/local/lib/spank_pyxis.so")
	pyxisLine{env: image, args: words("|echo ${GREETING:-none}"), stdout: "none\n", stderr: "remove one of the two"}.run(t, c)
}
