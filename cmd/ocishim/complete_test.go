package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bash's completion asks the program with the words so far, and offers what it answers.
func TestBashCompletion(t *testing.T) {
	if os.Getenv("OCISHIM_TEST_FIXTURE") != "" {
		t.Skip("the second run, as an ordinary user, is elsewhere: the first one has done this")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("this machine has no bash")
	}
	script, err := filepath.Abs("../../hack/completions/ocishim.bash")
	if err != nil {
		t.Fatal(err)
	}
	const asked = `. "$1"
		ocishim() { echo "$*" >&2; echo "two words"; echo torch; }
		COMP_WORDS=(ocishim run-image to) COMP_CWORD=2
		_ocishim
		printf '%s|' "${COMPREPLY[@]}"`
	cmd := exec.Command(bash, "-c", asked, "bash", script)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != "two words|torch|" {
		t.Errorf("%v: %q, %s", err, out, stderr.String())
	}
	check := exec.Command(bash, "-n", script)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
