package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The rows of the table: a shell in an image with Debian's MPICH, on a host whose site has another
// MPICH for it.
const (
	ownMPI  = "no profile"
	warmMPI = "the site's MPI"
	coldMPI = "the site's MPI, the image not seen before"
)

// writeMPI measures what the site's MPI costs a Slurm task, and prints the table. Image and site
// are the roots that hack/cluster makes for the tests of MPI.
func (p place) writeMPI(w *bytes.Buffer, repo string, samples int) error {
	if err := p.makeMPI(repo); err != nil {
		return fmt.Errorf("make images with MPI: %w", err)
	}
	r := &results{samples: map[string][]sample{}, names: []string{ownMPI, warmMPI, coldMPI}}
	for round := range samples + 1 {
		for i := range r.names {
			name := r.names[(round+i)%len(r.names)]
			taken, err := p.takeMPI(name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if round > 0 { // the first loads everything into memory
				r.samples[name] = append(r.samples[name], taken)
			}
		}
	}
	fmt.Fprintf(w, "### A Slurm task on the site's MPI: `run` in place\n\n")
	fmt.Fprintf(w, "Median (quartiles) of %d. A shell in Debian 13 with MPICH, which the site replaces by MPICH of Debian 12, with UCX and verbs.\n\n", samples)
	fmt.Fprintf(w, "| | wall, ms | CPU, ms | more CPU than %s, ms |\n|---|---|---|---|\n", ownMPI)
	for _, name := range r.names {
		fmt.Fprintf(w, "| %s | %v | %v | %v |\n", name, r.of(name, wall), r.of(name, cpu), r.difference(name, ownMPI, cpu))
	}
	fmt.Fprintln(w)
	return writeDetection(w, repo)
}

// writeDetection measures only detection and checks, without starting a process and without mounts:
// the benchmark of internal/mpi, as the Makefile builds it.
func writeDetection(w *bytes.Buffer, repo string) error {
	benchmark := exec.Command(filepath.Join(repo, "build", "yardsticks", "mpi.test"), "-test.run", "^$", "-test.bench", "Edits", "-test.benchtime", "300x")
	benchmark.Dir = filepath.Join(repo, "internal", "mpi") // as go test does
	benchmark.Stderr = os.Stderr
	out, err := benchmark.Output()
	if err != nil {
		return fmt.Errorf("benchmark internal/mpi: %w", err)
	}
	fmt.Fprint(w, "Only detection and checks, mean of 300 (`go test ./internal/mpi -bench Edits`), on the same images. Open MPI is\n"+
		"replaced as a whole, with some two hundred plugins and their dependencies.\n\n| | ms |\n|---|---|\n")
	rows := regexp.MustCompile(`(?m)^BenchmarkEdits/(\S+?)(?:-\d+)?\s+\d+\s+(\d+) ns/op`).FindAllSubmatch(out, -1)
	if len(rows) == 0 {
		return fmt.Errorf("benchmark internal/mpi: no figures in %q", out)
	}
	for _, row := range rows {
		ns, err := strconv.ParseFloat(string(row[2]), 64)
		if err != nil {
			return fmt.Errorf("benchmark internal/mpi: %w", err)
		}
		fmt.Fprintf(w, "| %s | %.2f |\n", strings.ReplaceAll(string(row[1]), "/", ", "), ns/1e6)
	}
	fmt.Fprintln(w)
	return nil
}

func (p place) takeMPI(name string) (sample, error) {
	dir, state := filepath.Join(p.dir, "mpi"), filepath.Join(p.dir, "state", "mpi")
	config := "site.toml"
	if name == ownMPI {
		config = "none.toml"
	}
	if name == coldMPI {
		if err := os.RemoveAll(filepath.Join(state, ".ocishim-node")); err != nil {
			return sample{}, err
		}
	}
	program, id := filepath.Join(p.dir, "bin", "ocishim"), "n1."+p.user.name+".2.0.0"
	taken, err := p.take(scenario{user: true, copies: 1}, [][]string{{
		program, "--root", state, "--config", filepath.Join(dir, config), "run", "--bundle", filepath.Join(dir, "bundle"), id,
	}})
	if err != nil {
		return sample{}, err
	}
	if out, err := p.command(true, program, "--root", state, "delete", id).CombinedOutput(); err != nil {
		return sample{}, fmt.Errorf("delete: %w: %s", err, out)
	}
	return taken, nil
}

// makeMPI makes image and site, where the user can reach them, the bundle, and the site's
// configurations.
func (p place) makeMPI(repo string) error {
	dir := filepath.Join(p.dir, "mpi")
	for name, suite := range map[string]string{"image": "trixie", "site": "bookworm"} {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		root := filepath.Join(repo, "build", suite+"-mpi")
		if err := syscall.Mount(root, at, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w: run hack/cluster root --mpi", root, err)
		}
	}
	lib := filepath.Join(dir, "site", "usr", "lib", "x86_64-linux-gnu")
	profile := fmt.Sprintf("[mpi.site]\nreplace = [%q]\nclosure = [%q]\n", lib+"/libmpich.so.12", lib)
	var spec specs.Spec
	data, err := os.ReadFile(filepath.Join(p.dir, "user", "bundle", "config.json"))
	if err == nil {
		err = json.Unmarshal(data, &spec)
	}
	if err != nil {
		return err
	}
	spec.Process.Env = append(spec.Process.Env, strings.Fields("SLURM_JOB_ID=2 SLURM_NTASKS=1")...)
	spec.Process.Args = []string{"sh", "-c", ":"}
	spec.Root.Path = filepath.Join(dir, "image")
	if data, err = json.Marshal(spec); err != nil {
		return err
	}
	return errors.Join(
		os.Mkdir(filepath.Join(dir, "bundle"), 0o755),
		os.WriteFile(filepath.Join(dir, "bundle", "config.json"), data, 0o644),
		os.WriteFile(filepath.Join(dir, "none.toml"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "site.toml"), []byte(profile), 0o644),
	)
}
