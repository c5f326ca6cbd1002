package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptCommands are the commands of our scripts that testscript lacks.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"bundle": cmdBundle,
	"elf":    cmdElf,
	"exits":  cmdExits,
	"keys":   cmdKeys,
	"slurm":  cmdSlurm,
	"state":  cmdState,
}

// exits STATUS COMMAND... is exec for a command that must exit with the status.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := statusOf(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// statusOf returns the exit status as a shell shows it; -1 for a command that could not be started.
func statusOf(err error) int {
	var failed *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failed) && failed.Exited():
		return failed.ExitCode()
	case errors.As(err, &failed):
		return 1000 // it killed itself, which no program of ours does
	}
	return -1
}

// state ID KEY=VALUE... asks for the state until every KEY has its VALUE, for at most 15 seconds.
// KEY is a path with slashes; an absent key has the value "". Every answer must be one JSON object
// and nothing else.
func cmdState(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: state ID KEY=VALUE...")
	}
	var wrong string
	done := wait(15*time.Second, func() bool {
		ts.Check(ts.Exec("ocishim", "--root", ts.Getenv("STATE"), "state", args[0]))
		if errors := ts.ReadFile("stderr"); errors != "" {
			ts.Fatalf("state prints on stderr: %s", errors)
		}
		object, err := oneObject(ts.ReadFile("stdout"))
		ts.Check(err)
		wrong = ""
		for _, want := range args[1:] {
			key, value, _ := strings.Cut(want, "=")
			if got := valueAt(object, key); got != value {
				wrong = fmt.Sprintf("%s is %q, want %q", key, got, value)
			}
		}
		return wrong == ""
	})
	if !done {
		ts.Fatalf("state of %s: %s", args[0], wrong)
	}
}

// oneObject decodes a text that must be one JSON object.
func oneObject(text string) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	object := map[string]any{}
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("%w in %q", err, text)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("more than one JSON object: %q", text)
	}
	return object, nil
}

func valueAt(object map[string]any, path string) string {
	var value any = object
	for key := range strings.SplitSeq(path, "/") {
		inner, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = inner[key]
	}
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// keys FILE KEY... checks that the file is one JSON object with these keys and
// no others.
func cmdKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: keys FILE KEY...")
	}
	object, err := oneObject(ts.ReadFile(args[0]))
	ts.Check(err)
	got, want := slices.Sorted(maps.Keys(object)), slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(got, want) {
		ts.Fatalf("keys %q, want %q", got, want)
	}
}

// slurm FILE KEY BUNDLE [TASK] runs the line KEY of the oci.conf in FILE as slurmstepd does: with
// the patterns replaced, by /bin/sh, without an environment. It replaces the runtime's name by
// ocishim, and /run/user/UID/ by the script's $STATE.
func cmdSlurm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: slurm FILE KEY BUNDLE [TASK]")
	}
	task := "0"
	if len(args) > 3 {
		task = args[3]
	}
	line := regexp.MustCompile(`(?m)^` + args[1] + `="(?:exec )?(?:runc|crun) (.*)"$`).FindStringSubmatch(ts.ReadFile(args[0]))
	if line == nil {
		ts.Fatalf("no %s in %s", args[1], args[0])
	}
	command := strings.NewReplacer("/run/user/%U/", ts.Getenv("STATE")+"/", "%n", "n1", "%u", ts.Getenv("NAME"),
		"%j", ts.Getenv("JOB"), "%s", "0", "%t", task, "%b", ts.MkAbs(args[2])).Replace(line[1])
	ts.Check(ts.Exec("env", "-i", "/bin/sh", "-c", shared.program()+" "+command))
}
