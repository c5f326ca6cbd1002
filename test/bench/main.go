// Command bench measures what ocishim's containers cost, and those of other runtimes in the
// same run, and writes the tables and the plot into docs: `make bench`.
//
//	build/yardsticks/bench -scenario run-user -contestant 'ocishim|runc 1.5' -print
//
// It runs as root in the root of the repository, with what the Makefile builds
// for it. Contestants and scenarios are lists: contestants.go, scenarios.go.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

// options are the options of the command line.
type options struct {
	scenario, contestant *regexp.Regexp
	samples              int
	print                bool
}

func readOptions() (options, error) {
	var o options
	scenario := flag.String("scenario", "", "only scenarios whose name matches the `REGEXP`")
	contestant := flag.String("contestant", "", "only contestants whose name matches the `REGEXP`")
	flag.IntVar(&o.samples, "samples", 0, "take `N` samples (default: by scenario)")
	flag.BoolVar(&o.print, "print", false, "print the tables, and leave docs as they are")
	flag.Parse()
	var err error
	if o.scenario, err = regexp.Compile(*scenario); err != nil {
		return o, err
	}
	o.contestant, err = regexp.Compile(*contestant)
	return o, err
}

func run() error {
	o, err := readOptions()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("only root can measure as root and as a user")
	}
	dir := os.Getenv(placeVariable)
	if dir == "" {
		return inOwnNamespace(os.Args[1:])
	}
	repo, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := idle(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v: other work affects the figures more than the ratios\n", err)
	}
	p, err := prepare(dir, repo)
	if err != nil {
		return err
	}
	tables, drawn, err := p.measureAll(o, repo)
	if err != nil {
		return err
	}
	if o.print {
		_, err := os.Stdout.Write(tables)
		return err
	}
	if err := os.WriteFile(filepath.Join(repo, "docs", "performance.svg"), drawn, 0o644); err != nil {
		return err
	}
	return splice(filepath.Join(repo, "docs", "performance.md"), tables)
}

// measureAll returns the tables and the plot.
func (p place) measureAll(o options, repo string) (tables, drawn []byte, err error) {
	var able []contestant
	for _, c := range contestants(filepath.Join(p.dir, "bin")) {
		if !o.contestant.MatchString(c.name) {
			continue
		}
		if err := c.find(); err != nil {
			return nil, nil, fmt.Errorf("find %s: %w", c.name, err)
		}
		able = append(able, c)
	}
	var w bytes.Buffer
	if err := writeMachine(&w, able); err != nil {
		return nil, nil, err
	}
	var all []*results
	for _, s := range scenarios {
		if !o.scenario.MatchString(s.name) {
			continue
		}
		if o.samples > 0 {
			s.samples = o.samples
		}
		fmt.Fprintf(os.Stderr, "bench: %s, %d samples of each contestant\n", s.name, s.samples)
		r, err := p.measure(s, able)
		if err != nil {
			return nil, nil, err
		}
		r.write(&w)
		all = append(all, r)
	}
	if o.scenario.MatchString("phases") {
		fmt.Fprintln(os.Stderr, "bench: phases, under strace")
		if err := p.writePhases(&w, able); err != nil {
			return nil, nil, err
		}
	}
	if o.scenario.MatchString("gpus") && o.contestant.MatchString(inPlace) {
		fmt.Fprintln(os.Stderr, "bench: gpus, fake ones")
		if err := p.writeGPUs(&w, repo, max(o.samples, 41)); err != nil {
			return nil, nil, err
		}
	}
	if o.scenario.MatchString("mpi") && o.contestant.MatchString(inPlace) {
		fmt.Fprintln(os.Stderr, "bench: mpi, by a profile")
		if err := p.writeMPI(&w, repo, max(o.samples, 41)); err != nil {
			return nil, nil, err
		}
	}
	return w.Bytes(), plot(all), nil
}
