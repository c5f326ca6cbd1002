package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// phaseSamples is how often each runtime is traced.
const phaseSamples = 15

// A phase is a part of `run` that ends with a system call.
type phase struct {
	name string
	end  string // matches the call; the last of a series if last is set
	last bool
}

// phases are the phases of a runtime that is built on libcontainer.
var phases = []phase{
	{"Go starts; arguments, bundle, plan, state", `^(memfd_create|fsopen\("overlay")`, false},
	{"its executable is sealed (root: an overlay; otherwise a copy)", `^clone\(.*SIGCHLD`, false},
	{"fork", `^execve\("/proc/self/`, false},
	{"executed again: namespaces, in three stages of C", `^setsid\(`, false},
	{"Go starts again", `^mount\(`, false},
	{"mounts, devices, pivot_root, masks", `^mount\(`, true},
	{"capabilities, seccomp, state, start", `^execve\("[^"]*/true"`, false},
	{"the command", `^exit_group\(`, false},
	{"its status, and cleanup", `.`, true},
}

// phasesOf traces `run` of the contestant and returns the length of each phase.
func (p place) phasesOf(c contestant, user bool) ([][]time.Duration, error) {
	to := p.call(scenario{user: user}, c)
	to.id = strings.TrimSuffix(to.id, "@") + "watched"
	trace := filepath.Join(p.dir, "state", "trace-"+to.id)
	defer func() { _ = os.Remove(trace) }()
	args := append([]string{
		"--follow-forks", "--seccomp-bpf", "--absolute-timestamps=format:unix,precision:us", "--output=" + trace,
		"--trace=execve,memfd_create,fsopen,clone,setsid,mount,exit_group", c.program,
	}, c.run(to)...)
	lengths := make([][]time.Duration, len(phases))
	for range phaseSamples {
		if out, err := p.command(user, "/usr/bin/strace", args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("strace %s: %w: %s", c.name, err, out)
		}
		one, err := readTrace(trace)
		if err != nil {
			return nil, fmt.Errorf("strace %s: %w", c.name, err)
		}
		for i := range one {
			lengths[i] = append(lengths[i], one[i])
		}
	}
	return lengths, nil
}

// readTrace returns the length of each phase of a trace.
func readTrace(path string) ([]time.Duration, error) {
	events, err := readEvents(path)
	if err != nil {
		return nil, err
	}
	var lengths []time.Duration
	at := 0
	for _, ph := range phases {
		end := at
		pattern := regexp.MustCompile(ph.end)
		for i := at + 1; i < len(events); i++ {
			if !pattern.MatchString(events[i].text) {
				continue
			}
			if end = i; !ph.last {
				break
			}
		}
		if end == at {
			return nil, fmt.Errorf("no end of the phase %q", ph.name)
		}
		lengths = append(lengths, events[end].at-events[at].at)
		at = end
	}
	return lengths, nil
}

// An event is a line of a trace.
type event struct {
	at   time.Duration
	text string
}

func readEvents(path string) ([]event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var events []event
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// PID SECONDS.MICROSECONDS CALL
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			continue
		}
		whole, fraction, _ := strings.Cut(fields[1], ".")
		seconds, serr := strconv.ParseInt(whole, 10, 64)
		micros, merr := strconv.ParseInt(fraction, 10, 64)
		if err := errors.Join(serr, merr); err != nil {
			return nil, err
		}
		events = append(events, event{time.Duration(seconds)*time.Second + time.Duration(micros)*time.Microsecond, strings.Join(fields[2:], " ")})
	}
	slices.SortStableFunc(events, func(a, b event) int { return int(a.at - b.at) })
	return events, lines.Err()
}
