// Package doctor finds out whether a host is fit for containers. Its rule is to test by doing what a
// task does, and to explain a failure by what can be read: versions and settings alone mislead.
package doctor

import (
	"slices"
	"strings"

	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/host"
)

// A Status says how a check ended.
type Status string

// The statuses of findings.
const (
	OK   Status = "ok"
	Skip Status = "skip" // it cannot be looked at here, or there is nothing to look at
	Warn Status = "warn" // some containers will lack something, or work more slowly
	Fail Status = "FAIL" // containers fail
)

// A Finding is what a check has found.
type Finding struct {
	Check  string `json:"check"`
	Status Status `json:"status"`

	// What is one line for people: a fact, or what is wrong and why.
	What string `json:"what"`

	// Fix says what to do, if something is wrong.
	Fix string `json:"fix,omitempty"`
}

// A Patient is a host, and the user for whom it is examined.
type Patient struct {
	Host   *host.Tree
	Config *config.Config

	// ConfigError is why the site's configuration could not be read; then Config is the default.
	ConfigError error

	// Version and Program are those of ocishim itself.
	Version, Program string

	UID, GID int
	User     string
	Env      []string // of the user, or of the job

	// Job says that the examination runs in a job, and so has its limits, devices and cgroup.
	Job bool

	// Do does in a child process what a task would do, as the user; see deed. The error is what
	// went wrong, in one line.
	Do func(deed string, args ...string) error

	// Ask executes a program of the host and returns its output. A program that is missing is an
	// error.
	Ask func(program string, args ...string) (string, error)
}

// A Check examines one thing.
type Check struct {
	Name, About string
	Examine     func(p *Patient) []Finding
}

// Checks are all checks, in the order in which a reader would make them.
func Checks() []Check {
	return slices.Concat(programChecks(), namespaceChecks(), placeChecks(), slurmChecks(), imageChecks(), gpuChecks(), jobChecks())
}

// Names returns the names of all checks.
func Names() []string {
	var names []string
	for _, c := range Checks() {
		names = append(names, c.Name)
	}
	return names
}

// Examine makes the checks with these names, or all of them.
func Examine(p *Patient, names []string) []Finding {
	findings := []Finding{}
	for _, c := range Checks() {
		if len(names) > 0 && !slices.Contains(names, c.Name) {
			continue
		}
		for _, f := range c.Examine(p) {
			f.Check = c.Name
			f.What, f.Fix = oneLine(f.What), oneLine(f.Fix)
			findings = append(findings, f)
		}
	}
	return findings
}

// Failed reports whether a finding is a failure.
func Failed(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Status == Fail })
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func found(s Status, what, fix string) []Finding { return []Finding{{Status: s, What: what, Fix: fix}} }
func ok(what string) []Finding                   { return found(OK, what, "") }
func skip(why string) []Finding                  { return found(Skip, why, "") }
