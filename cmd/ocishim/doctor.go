package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/doctor"
	"github.com/ocishim/ocishim/internal/doctor/deed"
	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/request"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "find out whether this host is fit for containers, and how to make it so",
		ArgsUsage: "[CHECK]...",
		Description: "It does what a task does, as a user, and explains what fails by what can be read. It changes nothing. The\n" +
			"status is 1 if a check says FAIL. In a job (srun ocishim doctor) it also sees the limits of tasks.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "user", Usage: "examine it for the user `NAME`; only root can", DefaultText: "the caller; nobody for root"},
			&cli.StringFlag{Name: "image", Usage: "also find out whether `IMAGE`, a bundle or an environment would run here, and what it would lack"},
			&cli.BoolFlag{Name: "json", Usage: "print it as JSON"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only what is wrong"},
			&cli.BoolFlag{Name: "compare", Usage: "take files of --json instead, one or more reports in each, and print in what the hosts differ"},
		},
		Action: func(c *cli.Context) error {
			if c.Bool("compare") {
				return compareHosts(c.Args().Slice())
			}
			for _, name := range c.Args().Slice() {
				if !slices.Contains(doctor.Names(), name) {
					return usageError{fmt.Errorf("there is no check %q; there are %s", name, strings.Join(doctor.Names(), ", "))}
				}
			}
			return examine(c)
		},
	}
}

// describeChecks is the part of the help that is generated from the checks.
func describeChecks() string {
	var b strings.Builder
	b.WriteString("\n\nThe checks:\n")
	for _, check := range doctor.Checks() {
		fmt.Fprintf(&b, "  %-11s %s\n", check.Name, check.About)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// doDeed does what doctor executes this program for, and returns the exit status.
func doDeed(args []string) int {
	if len(args) == 0 {
		return 1
	}
	if err := deed.Do(args[0], args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// errSick says that a check has failed, which was printed.
var errSick = errors.New("this host is not fit for containers: see FAIL above")

func examine(c *cli.Context) error {
	p, err := patient(c)
	if err != nil {
		return err
	}
	defer p.Host.Close()
	report := doctor.Report{Facts: doctor.Facts(p), Findings: doctor.Examine(p, c.Args().Slice())}
	if name := c.String("image"); name != "" {
		report.Findings = append(report.Findings, examineImage(name)...)
	}
	if c.Bool("json") {
		if err := printJSON(report); err != nil {
			return err
		}
	} else {
		printFindings(report.Findings, c.Bool("quiet"))
	}
	if doctor.Failed(report.Findings) {
		return errSick
	}
	return nil
}

func printFindings(findings []doctor.Finding, quiet bool) {
	for _, f := range findings {
		if quiet && (f.Status == doctor.OK || f.Status == doctor.Skip) {
			continue
		}
		fmt.Printf("%-4s  %-10s  %s\n", f.Status, f.Check, f.What)
		if f.Fix != "" {
			fmt.Printf("%-4s  %-10s  fix: %s\n", "", "", f.Fix)
		}
	}
}

// patient is this host, for the user of --user.
func patient(c *cli.Context) (*doctor.Patient, error) {
	who, err := examined(c.String("user"))
	if err != nil {
		return nil, err
	}
	machine, err := host.Open("/", host.Kernel{})
	if err != nil {
		return nil, err
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	p := &doctor.Patient{Host: machine, Version: version, Program: self, UID: who.uid, GID: who.gid, User: who.name, Ask: ask}
	if p.Config, p.ConfigError = loadConfig(c); p.ConfigError != nil {
		p.Config = config.Default()
	}
	p.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "HOME=") })
	p.Env = append(p.Env, "HOME="+who.home)
	job, _ := bundle.Getenv(p.Env, "SLURM_JOB_ID")
	p.Job = job != ""
	p.Do = func(name string, args ...string) error { return do(who, name, args) }
	return p, nil
}

// A subject is the user for whom a host is examined.
type subject struct {
	uid, gid   int
	name, home string
	groups     []uint32
}

// examined returns the caller, or for root another user: what matters is what users may.
func examined(name string) (subject, error) {
	var u *user.User
	var err error
	switch {
	case name != "" && os.Geteuid() != 0:
		return subject{}, usageError{errors.New("--user: only root can become another user")}
	case name == "" && os.Geteuid() == 0:
		u, err = user.Lookup("nobody")
	case name == "":
		if u, err = user.LookupId(strconv.Itoa(os.Geteuid())); err != nil {
			return subject{uid: os.Geteuid(), gid: os.Getegid(), home: os.Getenv("HOME")}, nil
		}
		u.HomeDir = os.Getenv("HOME")
	default:
		u, err = user.Lookup(name)
	}
	if err != nil {
		return subject{}, fmt.Errorf("--user: %w", err)
	}
	s := subject{name: u.Username, home: u.HomeDir}
	s.uid, _ = strconv.Atoi(u.Uid)
	s.gid, _ = strconv.Atoi(u.Gid)
	groups, _ := u.GroupIds()
	for _, id := range groups {
		if number, err := strconv.ParseUint(id, 10, 32); err == nil {
			s.groups = append(s.groups, uint32(number))
		}
	}
	return s, nil
}

// do does a deed as the user.
func do(who subject, name string, args []string) error {
	cmd := deed.Command(name, args...)
	cmd.Dir = "/"
	if os.Geteuid() == 0 && who.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(who.uid), Gid: uint32(who.gid), Groups: who.groups}}
	}
	return deed.Run(cmd)
}

// askLimit is how long a program of the host may take to answer.
const askLimit = 10 * time.Second

// ask executes a program of the host, found in the places where packages put them.
func ask(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/slurm/bin", "/opt/slurm/sbin"} {
		if info, err := os.Stat(dir + "/" + program); err != nil || !info.Mode().IsRegular() {
			continue
		}
		out, err := exec.CommandContext(ctx, dir+"/"+program, args...).Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w", program, err)
		}
		return string(out), nil
	}
	return "", fmt.Errorf("this host has no %s", program)
}

// examineImage plans a launch of the image, as the caller, and reports what the plan says.
func examineImage(name string) []doctor.Finding {
	finding := func(s doctor.Status, what, fix string) doctor.Finding {
		return doctor.Finding{Check: "image", Status: s, What: what, Fix: fix}
	}
	out, err := explained(name, "json")
	var plan explanation
	if err == nil {
		err = json.Unmarshal([]byte(out), &plan)
	}
	if err != nil {
		return []doctor.Finding{finding(doctor.Fail, name+": "+err.Error(), "")}
	}
	findings := []doctor.Finding{finding(doctor.OK, name+" is launched "+plan.Launcher, "")}
	for _, w := range plan.Warnings {
		findings = append(findings, finding(doctor.Warn, w, plan.Hint))
	}
	if _, err := explained(name, "verify"); err != nil {
		findings = append(findings, finding(doctor.Warn, "not every library that is given to it is found: "+err.Error(), "OCISHIM_EXPLAIN=verify ocishim run-image "+name+" true"))
	}
	return findings
}

// explained returns what run-image prints of the image instead of a start.
func explained(name, form string) (string, error) {
	cmd := exec.Command("/proc/self/exe", "run-image", "--", name, "true")
	cmd.Env = append(os.Environ(), request.ExplainVariable+"="+form)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil && said.Len() > 0 {
		err = errors.New(strings.TrimSpace(said.String()))
	}
	return string(out), err
}

// compareHosts prints in what the reports of several hosts differ.
func compareHosts(files []string) error {
	if len(files) == 0 {
		return usageError{errors.New("doctor --compare takes files of doctor --json")}
	}
	var reports []doctor.Report
	for _, name := range files {
		more, err := readReports(name)
		if err != nil {
			return fmt.Errorf("read report: %w", err)
		}
		reports = append(reports, more...)
	}
	differences := doctor.Compare(reports)
	for _, line := range differences {
		fmt.Println(line)
	}
	if len(differences) > 0 {
		return errors.New("the hosts differ")
	}
	fmt.Printf("%d hosts are the same\n", len(reports))
	return nil
}

// readReports reads the reports in a file, one after the other.
func readReports(name string) ([]doctor.Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var reports []doctor.Report
	for d := json.NewDecoder(f); d.More(); {
		var r doctor.Report
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		reports = append(reports, r)
	}
	return reports, nil
}
