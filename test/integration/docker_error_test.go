//go:build integration

package integration

import (
	"regexp"
	"strings"
	"testing"
)

// dockerErrors: Docker's message and exit status if the runtime fails.
var dockerErrors = []struct {
	name, command string
	status        string
	says          []string // all in the first line: Docker and its users recognise the error by these words
}{
	{"no such command", `run --rm mini nothere`, "127", []string{`OCI runtime create failed: `, `"nothere"`, `executable file not found in $PATH: unknown`}},
	{"no such path", `run --rm mini /no/such`, "127", []string{`OCI runtime create failed: `, `"/no/such"`, `no such file or directory: unknown`}},
	{"no such path in the directory", `run --rm -w /etc mini ./nothere`, "127", []string{`"./nothere"`, `no such file or directory: unknown`}},
	{"empty path", `run --rm -e PATH=/none mini ls`, "127", []string{`"ls"`, `executable file not found in $PATH: unknown`}},
	{"a directory", `run --rm mini /etc`, "126", []string{`OCI runtime create failed: `, `"/etc"`, `permission denied: unknown`}},
	{"not executable", `run --rm mini /etc/passwd`, "126", []string{`"/etc/passwd"`, `permission denied: unknown`}},
	{"directory on a file", `run --rm -v /tmp:/etc/passwd mini true`, "125", []string{`OCI runtime create failed: `, `not a directory: unknown`, `Are you trying to mount a directory onto a file`}},
	{"mount below a file", `run --rm -v /tmp:/etc/passwd/x mini true`, "125", []string{`/etc/passwd/x`, `not a directory: unknown`}},
	{"bad sysctl", `run --rm --sysctl kernel.shmmax=abc mini true`, "125", []string{`OCI runtime create failed: `, `shmmax`, `invalid argument: unknown`}},
	{"bad rlimit", `run --rm --ulimit nofile=99999999999:99999999999 mini true`, "125", []string{`rlimit`, `operation not permitted: unknown`}},
	{"exec: no such command", `exec $C nothere`, "12[67]", []string{`OCI runtime exec failed: `, `"nothere"`, `executable file not found in $PATH: unknown`}},
	{"exec: no such command, terminal", `exec -t $C nothere`, "12[67]", []string{`"nothere"`, `executable file not found in $PATH: unknown`}},
	{"exec: no such path", `exec $C /no/such`, "12[67]", []string{`"/no/such"`, `no such file or directory: unknown`}},
	{"exec: a directory", `exec $C /etc`, "126", []string{`"/etc"`, `permission denied: unknown`}},
	{"exec: not executable", `exec $C /etc/passwd`, "126", []string{`"/etc/passwd"`, `permission denied: unknown`}},
	{"exec: no such directory", `exec -w /nope $C sh -c true`, "12[67]", []string{`OCI runtime exec failed: `, `/nope`, `no such file or directory: unknown`}},
	{"exec: in the background", `exec -d $C nothere`, "1", []string{`"nothere"`, `executable file not found in $PATH: unknown`}},
}

// runErrors also compares each exit status with runc's under the same daemon.
func (e *engine) runErrors(t *testing.T) {
	for _, sc := range dockerErrors {
		t.Run("error:_"+strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			command := strings.Replace(sc.command, "run ", "run --runtime $RUNTIME --net none --name $C ", 1)
			script := "docker " + command + ` 2>&1 | grep -v 'level=error msg="error waiting'; echo "status ${PIPESTATUS[0]}"`
			if strings.HasPrefix(command, "exec") {
				script = "run -d mini sleep 1000 >/dev/null\n" + script
			}
			ours, err := e.run(engineScenario{name: sc.name, script: script})
			if err != nil {
				t.Fatal(err, ours)
			}
			if !regexp.MustCompile(`(?m)^status ` + sc.status + `$`).MatchString(ours) {
				t.Errorf("exit status is not %s:\n%s", sc.status, ours)
			}
			for _, words := range sc.says {
				if line, _, _ := strings.Cut(ours, "\n"); !strings.Contains(line, words) {
					t.Errorf("does not say %q:\n%s", words, ours)
				}
			}
			runc := *e
			runc.runtime = "runc"
			theirs, err := runc.run(engineScenario{name: sc.name, script: script})
			if err != nil {
				t.Fatal(err, theirs)
			}
			_, status, _ := strings.Cut(ours, "\nstatus ")
			if _, want, _ := strings.Cut(theirs, "\nstatus "); status != want {
				t.Errorf("with runc the status is another:\n%s\n%s", ours, theirs)
			}
		})
	}
}
