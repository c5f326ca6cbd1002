//go:build integration

package integration

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

var (
	flagOverhead = flag.String("overhead", "", "TestOverhead: also measure runc and crun, and write all, in markdown, to this file")
	flagPairs    = flag.Int("pairs", 3, "TestOverhead: how often srun is measured, without a container and with one in turn")
)

// sleepers is the number of tasks of one step that sleep while the memory of the runtime is
// counted.
const sleepers = 64

// overhead is what a runtime adds to Slurm's own work.
type overhead struct {
	*cluster
	bare, inside []float64 // ms of srun, in pairs
	resident     int       // processes of the runtime while the sleepers sleep
	memory       int       // their own share of memory (PSS), in kB
}

// TestOverhead measures how much longer `srun --container` takes than srun, and what remains in
// memory. The runtimes take turns, each on a cluster of its own with one compute node.
func TestOverhead(t *testing.T) {
	prepare(t)
	runtimes := []string{"ocishim"}
	if *flagOverhead != "" {
		runtimes = append(runtimes, "runc", "crun")
	}
	var all []*overhead
	for _, runtime := range runtimes {
		col := column{runtime: runtime, slurm: "24.11", mode: "run"}
		prepareColumn(t, col)
		o := &overhead{cluster: newCluster(t, col, "overhead")}
		t.Cleanup(o.down)
		o.start(t, 1)
		if err := o.makeBundles(); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	for range *flagPairs + 1 {
		for _, o := range all {
			if err := o.pair(); err != nil {
				t.Fatalf("%s: %v", o.runtime, err)
			}
		}
	}
	for _, o := range all {
		o.bare, o.inside = o.bare[1:], o.inside[1:] // the first of each loads programs into memory
		if err := o.sleep(); err != nil {
			t.Errorf("%s: %d tasks that sleep: %v", o.runtime, sleepers, err)
		}
		t.Logf("%s: srun %.1f ms, in a container %.1f ms; resident %d, %d kB", o.runtime, middle(o.bare), middle(o.inside), o.resident, o.memory)
	}
	if ours := all[0]; ours.resident != 0 {
		t.Errorf("%d processes of ocishim stay while tasks sleep", ours.resident)
	}
	if *flagOverhead != "" {
		if err := writeOverhead(*flagOverhead, all); err != nil {
			t.Error(err)
		}
	}
}

// pairScript prints, in seconds, when srun began without a container, began with one, and ended. It
// does not include the time to enter the cluster.
const pairScript = `a=$EPOCHREALTIME; srun true || exit; b=$EPOCHREALTIME; srun --container "$0" true || exit; echo $a $b $EPOCHREALTIME`

func (o *overhead) pair() error {
	ctx, cancel := pace.Context(context.Background(), 30*time.Second)
	defer cancel()
	var complaints strings.Builder
	cmd := o.command(ctx, "alice", "bash", "-c", pairScript, bundle("alice", "ro"))
	cmd.Stderr = &complaints // crun's print their missing end, which is not an error
	out, err := cmd.Output()
	var times [3]float64
	if err == nil {
		_, err = fmt.Sscan(string(out), &times[0], &times[1], &times[2])
	}
	if err != nil {
		return fmt.Errorf("%w: %s%s", err, out, complaints.String())
	}
	o.bare = append(o.bare, 1000*(times[1]-times[0]))
	o.inside = append(o.inside, 1000*(times[2]-times[1]))
	return nil
}

// sleep counts the runtime's processes while the tasks of a step sleep.
func (o *overhead) sleep() error {
	ctx, cancel := pace.Context(context.Background(), 30*time.Second)
	defer cancel()
	srun := o.command(ctx, "alice", "srun", "--overcommit", "-n", strconv.Itoa(sleepers), "--container", bundle("alice", "ro"), "sleep", "543")
	var said strings.Builder
	srun.Stderr = &said
	if err := srun.Start(); err != nil {
		return err
	}
	defer func() {
		_, _ = o.asRoot("scancel", "--user", "alice")
		_ = srun.Wait()
	}()
	for {
		asleep := o.count(func(dir, exe string) bool {
			return filepath.Base(exe) == "sleep" && strings.HasSuffix(commandOf(dir), "sleep 543") // srun resolves the path
		})
		if asleep == sleepers {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d run: %s", asleep, said.String())
		}
		pace.Pause(100 * time.Millisecond)
	}
	o.resident = o.count(func(dir, exe string) bool {
		if !strings.HasPrefix(filepath.Base(exe), o.runtime) && !strings.HasPrefix(exe, "/memfd:") {
			return false
		}
		o.memory += share(dir)
		return true
	})
	return nil
}

// count counts processes of the cluster for which is returns true, by their directory in /proc and
// their executable.
func (o *overhead) count(is func(dir, exe string) bool) int {
	found, _ := filepath.Glob(o.onHost("/proc/[0-9]*"))
	n := 0
	for _, dir := range found {
		exe, err := os.Readlink(dir + "/exe")
		if err == nil && is(dir, exe) {
			n++
		}
	}
	return n
}

func commandOf(dir string) string {
	data, _ := os.ReadFile(dir + "/cmdline")
	return strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " "))
}

// share returns the process's proportional share of memory, in kB (PSS, proc_pid_smaps(5)).
func share(dir string) int {
	data, _ := os.ReadFile(dir + "/smaps_rollup")
	_, rest, _ := strings.Cut(string(data), "\nPss:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kB, _ := strconv.Atoi(fields[0])
	return kB
}

func writeOverhead(path string, all []*overhead) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Median (quartiles) of %d pairs in turns, in ms; processes and memory (PSS) of the runtime while %d tasks of a step sleep.\n\n", *flagPairs, sleepers)
	fmt.Fprintln(&b, "| | `srun true` | `srun --container B true` | the container | ÷ crun's | resident processes | their memory, MB |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|")
	crun := all[slices.IndexFunc(all, func(o *overhead) bool { return o.runtime == "crun" })]
	for _, o := range all {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.2f | %d | %.1f |\n", o.runtime, quartiles(o.bare), quartiles(o.inside),
			quartiles(o.added()), middle(o.added())/middle(crun.added()), o.resident, float64(o.memory)/1024)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// added returns how much longer the container took, pair by pair.
func (o *overhead) added() []float64 {
	var added []float64
	for i := range o.inside {
		added = append(added, o.inside[i]-o.bare[i])
	}
	return added
}

func quartiles(values []float64) string {
	sorted := slices.Sorted(slices.Values(values))
	return fmt.Sprintf("%.1f (%.1f–%.1f)", middle(sorted), sorted[len(sorted)/4], sorted[len(sorted)*3/4])
}

func middle(values []float64) float64 {
	return median(values, func(v float64) float64 { return v })
}
