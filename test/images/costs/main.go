// Costs measures what it costs to start an image by name, with ocishim and with other programs, and
// writes a table. `hack/peers exec` runs it in a root file system that has all of them; it starts
// them as an ordinary user, as their documentation says.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// user starts everything; hack/peers makes it.
const user = 4321

// many is how many tasks of a step start at once on a host.
const many = 64

func main() {
	var err error
	switch {
	case len(os.Args) > 2 && os.Args[1] == "meter":
		err = meter(os.Args[2:])
	case len(os.Args) == 3 && os.Args[1] == "scale":
		err = os.WriteFile(os.Args[2], []byte(scaleTable(1000)), 0o644)
	case len(os.Args) == 3 || len(os.Args) == 4:
		err = compare(os.Args[1], os.Args[2], strings.Join(os.Args[3:], ""))
	default:
		err = errors.New("usage: costs ROOT REPORT [PART OF A NAME] | costs scale REPORT")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "costs:", err)
		os.Exit(1)
	}
}

// A figure is what a command, or many at once, have cost, with all processes that they left.
type figure struct {
	Wall, First time.Duration // First is until the first output
	CPU         time.Duration
	Written     int64
	Processes   int // beside the tasks, while they ran
	Failed      string

	Peak int64 // bytes of disk; only for imports
}

// A row is a contestant's figures.
type row struct {
	contestant
	cold, load, one, all, small, big figure
	size                             int64 // of what stays on the disk
}

// compare measures every contestant whose name has the part, and writes the report. The files of source
// become the registry's image.
func compare(source, report, part string) error {
	image, stop, err := serveImage(source)
	if err != nil {
		return err
	}
	defer stop()
	var rows []row
	for _, c := range contestants(image.reference) {
		if !strings.Contains(c.name, part) {
			continue
		}
		r := row{contestant: c}
		if err := r.measure(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		rows = append(rows, r)
		fmt.Fprintf(os.Stderr, "%s: %+v\n", c.name, r)
	}
	return os.WriteFile(report, []byte(table(rows, image)), 0o644)
}

func (r *row) measure() error {
	for _, into := range []*figure{&r.load, &r.cold} { // the second home stays for what follows
		if err := r.fresh(); err != nil {
			return err
		}
		script := r.load0
		if into == &r.cold {
			script += " && " + r.first
		}
		before := used()
		peak, end := watch()
		var err error
		*into, err = r.run(1, script)
		end()
		if err != nil || into.Failed != "" {
			r.cold = *into
			return err
		}
		into.Peak, r.size = *peak-before, used()-before
	}
	for _, step := range []struct {
		figure  *figure
		n       int
		command []string
	}{
		{new(figure), 1, []string{"true"}}, // for what is cached
		{&r.one, 1, []string{"true"}},
		{&r.all, many, []string{"sleep", "5"}},
		{&r.small, many, []string{"sh", "-c", "xargs -a /list cat >/dev/null"}},
		{&r.big, many, []string{"sh", "-c", "cat /big >/dev/null"}},
	} {
		script, err := r.script(step.n, step.command)
		if err == nil {
			*step.figure, err = r.median(step.n, script)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// median runs a script three times, or once if that takes long, and returns the run with the middle CPU
// time.
func (r *row) median(n int, script string) (figure, error) {
	var all []figure
	for len(all) < 3 {
		f, err := r.run(n, script)
		if err != nil || f.Failed != "" || f.Wall > 20*time.Second {
			return f, err
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b figure) int { return cmp.Compare(a.CPU, b.CPU) })
	return all[1], nil
}

// script returns what each of n tasks runs to have a command executed in the image.
func (r *row) script(n int, command []string) (string, error) {
	if r.bundle == "" {
		return "exec " + r.exec + " " + quoted(command), nil
	}
	for i := range n {
		if err := makeBundle(filepath.Join(r.home(), r.bundle), bundleOf(i), command); err != nil {
			return "", err
		}
	}
	return "exec " + r.exec + " " + bundleOf(-1) + " task$TASK.$SLURM_STEP_ID", nil
}

func quoted(command []string) string {
	var words []string
	for _, word := range command {
		words = append(words, "'"+word+"'")
	}
	return strings.Join(words, " ")
}

// home is where a contestant keeps everything.
func (r *row) home() string { return filepath.Join("/work", r.dir) }

// fresh gives the contestant an empty home.
func (r *row) fresh() error {
	// Some leave files of ids that only a user namespace maps: as root.
	if err := os.RemoveAll(r.home()); err != nil {
		return err
	}
	unix.Sync()
	if err := os.Mkdir(r.home(), 0o755); err != nil {
		return err
	}
	return os.Chown(r.home(), user, user)
}

// run runs a script n times at once, as the user, as tasks of a step of its own.
func (r *row) run(n int, script string) (f figure, err error) {
	steps++
	cmd := exec.Command("/proc/self/exe", "meter", fmt.Sprint(n), script)
	cmd.Dir = r.home()
	cmd.Env = append([]string{
		"HOME=" + r.home(), "USER=peer", "LOGNAME=peer", "PATH=/repo/build/bin:/usr/bin:/usr/sbin", "TMPDIR=" + r.home(), "XDG_RUNTIME_DIR=/run/user/peer",
		"SLURM_JOB_ID=7", "SLURM_JOB_USER=peer", fmt.Sprintf("SLURM_JOB_UID=%d", user), "SLURMD_NODENAME=here", fmt.Sprintf("SLURM_STEP_ID=%d", steps), fmt.Sprintf("SLURM_NTASKS=%d", n),
	}, r.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return f, fmt.Errorf("%s: %w", script, err)
	}
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		return f, err
	}
	if f.Failed != "" {
		fmt.Fprintf(os.Stderr, "costs: %s: %s: %s\n", r.name, script, f.Failed)
	}
	return f, nil
}

var steps int

// used returns the bytes that are used of the contestants' file system.
func used() int64 {
	var s unix.Statfs_t
	if err := unix.Statfs("/work", &s); err != nil {
		return 0
	}
	return int64(s.Blocks-s.Bfree) * s.Bsize
}

// watch returns the most bytes that were used until end is called.
func watch() (peak *int64, end func()) {
	peak = new(int64)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			*peak = max(*peak, used())
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return peak, func() { close(stop); <-done }
}

func table(rows []row, image served) string {
	var out strings.Builder
	fmt.Fprintf(&out, "The image: %d layers, %d files, %d MB, %d MB as gzip.\n\n",
		image.layers, image.files, image.bytes>>20, image.packed>>20)
	fmt.Fprintf(&out, "| | cold start: CPU, wall | written | most on disk | stays on disk | import: CPU | warm start: CPU | %d at once: CPU per task | other processes | %d read 3,000 small files: CPU | %d read 200 MB: CPU |\n",
		many, many, many)
	out.WriteString("|" + strings.Repeat("---|", 11) + "\n")
	var tree row
	for _, r := range rows {
		if tree.name == "" && r.cold.Failed == "" {
			tree = r
		}
		if r.cold.Failed != "" {
			fmt.Fprintf(&out, "| %s | does not work here: %s |\n", r.name, r.cold.Failed)
			continue
		}
		fmt.Fprintf(&out, "| %s | %.1f s, %.1f s | %d MB | %d MB | %d MB | %.1f s | %.0f ms | %.0f ms | %s | %s | %s |\n", r.name,
			r.cold.CPU.Seconds(), r.cold.First.Seconds(), r.cold.Written>>20, r.cold.Peak>>20, r.size>>20, r.load.CPU.Seconds(),
			1e3*r.one.CPU.Seconds(), 1e3*r.all.CPU.Seconds()/many, cell(r.all, fmt.Sprint(r.all.Processes)), relative(r.small, tree.small), relative(r.big, tree.big))
	}
	return out.String()
}

func cell(f figure, text string) string {
	if f.Failed != "" {
		return "failed"
	}
	return text
}

func relative(f, tree figure) string {
	return cell(f, fmt.Sprintf("%.1f s (%.2f)", f.CPU.Seconds(), f.CPU.Seconds()/tree.CPU.Seconds()))
}
