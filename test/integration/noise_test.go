//go:build integration

package integration

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// noisePattern matches what a user should never see if nothing went wrong: words of the runtime, or
// of Slurm about the runtime.
var noisePattern = regexp.MustCompile(`(?i)\b(ocishim|runc|crun)\b|runtime(query|run|kill|delete|create|start)|` +
	`unable to parse|JSON parsing|level=(warn|error)|rmdir\(|unlink\(|slurmstepd\S*: error: _\w+:`)

// noise returns the lines of all output to the user that come from the runtime, or from Slurm about
// it.
func (s *session) noise() string {
	var found []string
	for line := range strings.Lines(s.seen()) {
		if noisePattern.MatchString(line) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found, "\n")
}

// queueing matches what srun says when the job before is still completing.
var queueing = regexp.MustCompile(`(?m)^srun: job \d+ (queued and waiting for resources|has been allocated resources)\n`)

// quiet returns text without those lines, which are reported separately.
func quiet(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" && !noisePattern.MatchString(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// seen returns everything that the user saw.
func (s *session) seen() string {
	var b strings.Builder
	for _, t := range s.tasks {
		b.WriteString(t.stdout.String() + "\n" + t.stderr.String() + "\n")
	}
	for _, path := range s.files {
		text, _ := os.ReadFile(s.onHost(path))
		b.Write(text)
	}
	return b.String()
}

// transcript describes a failure for the log.
func (s *session) transcript() string {
	var b strings.Builder
	for _, t := range s.tasks {
		fmt.Fprintf(&b, "$ %q (%.1fs, %v)\n%s%s", t.args, t.ended.Sub(t.start).Seconds(), t.err, cut(t.stdout.String()), cut(t.stderr.String()))
	}
	for _, path := range s.files {
		text, _ := os.ReadFile(s.onHost(path))
		fmt.Fprintf(&b, "%s:\n%s", path, cut(string(text)))
	}
	return b.String()
}
