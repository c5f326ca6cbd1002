package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A sample is what one execution of a scenario took, all processes together.
type sample struct {
	wall, cpu time.Duration
	memory    int // of the largest process, in kB
}

// results are the samples of one scenario, by contestant. Samples with the same index were taken
// one after the other.
type results struct {
	scenario scenario
	names    []string
	samples  map[string][]sample
	left     []string // contestants that could not take part, and why
}

// measure takes the samples of the scenario, the contestants in turns, so that other load on the
// machine affects all of them. A first round is not counted: it loads the programs into memory, and
// shows which contestants cannot take part.
func (p place) measure(s scenario, all []contestant) (*results, error) {
	r := &results{scenario: s, samples: map[string][]sample{}}
	var able []contestant
	for _, c := range all {
		if s.steps(c, p.call(s, c)) == nil {
			continue
		}
		if _, err := p.sampleOf(s, c); err != nil {
			r.left = append(r.left, fmt.Sprintf("%s: %v", c.name, err))
			continue
		}
		able = append(able, c)
		r.names = append(r.names, c.name)
	}
	for round := range s.samples {
		for i := range able {
			c := able[(round+i)%len(able)]
			taken, err := p.sampleOf(s, c)
			if err != nil { // now and then runc 1.1 fails to seal its copy: "device or resource busy"
				taken, err = p.sampleOf(s, c)
			}
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.name, c.name, err)
			}
			r.samples[c.name] = append(r.samples[c.name], taken)
		}
	}
	return r, nil
}

func (p place) call(s scenario, c contestant) call {
	word := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r) {
			return r
		}
		return -1
	}, strings.ToLower(c.name))
	who := "root"
	if s.user {
		who = "user"
	}
	return call{
		id:     "bench-" + word + "-@",
		state:  filepath.Join(p.dir, "state", who+"-"+word),
		bundle: filepath.Join(p.dir, who, "bundle"),
		user:   s.user,
	}
}

// sampleOf takes one sample of the contestant. The next one finds no entries of this one: Slurm's
// ids do not repeat, and it deletes what its tasks leave.
func (p place) sampleOf(s scenario, c contestant) (sample, error) {
	to := p.call(s, c)
	if c.leaves {
		defer func() { _ = os.RemoveAll(to.state) }()
	}
	return p.take(s, s.steps(c, to))
}

// take runs the commands with the program of sample.c.
func (p place) take(s scenario, steps [][]string) (sample, error) {
	args := []string{fmt.Sprint(s.copies)}
	for i, step := range steps {
		if i > 0 {
			args = append(args, ",")
		}
		args = append(args, step...)
	}
	var out, messages bytes.Buffer
	cmd := p.command(s.user, filepath.Join(p.dir, "bin", "sample"), args...)
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		said, _, _ := strings.Cut(strings.TrimSpace(messages.String()), "\n")
		return sample{}, errors.New(strings.TrimSpace(err.Error() + " " + said))
	}
	var wall, user, system int64
	var taken sample
	if _, err := fmt.Sscan(out.String(), &wall, &user, &system, &taken.memory); err != nil {
		return sample{}, fmt.Errorf("read %q: %w", out.String(), err)
	}
	taken.wall = time.Duration(wall) * time.Microsecond
	taken.cpu = time.Duration(user+system) * time.Microsecond
	return taken, nil
}

// command returns a command of root or of the ordinary user, with an almost empty environment.
func (p place) command(user bool, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "USER=root"}
	if user {
		cmd.Env[2] = "USER=" + p.user.name
		cmd.SysProcAttr = p.user.attributes()
	}
	return cmd
}
