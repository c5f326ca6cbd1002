package mpi

import (
	"debug/elf"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ocishim/ocishim/internal/linker"
)

// PMI is the process management interface by which an MPI finds its ranks.
type PMI struct {
	PMIx    bool
	Version string // of libpmix, from the name of its file; empty if unknown

	// Socket means that it speaks PMI 1 or 2 with Slurm: by PMI_FD itself, or by a
	// library of Slurm's, which By then names.
	Socket bool
	By     string
}

// String describes it for people.
func (p PMI) String() string {
	var said []string
	if p.PMIx {
		said = append(said, strings.TrimSpace("PMIx "+pmixRelease(p.Version)))
	}
	switch {
	case p.By != "":
		said = append(said, p.By)
	case p.Socket:
		said = append(said, "PMI2")
	}
	if len(said) == 0 {
		return "no PMI"
	}
	return strings.Join(said, ", ")
}

// pmixRelease returns the release series of a libpmix, if its file name says it.
func pmixRelease(version string) string {
	switch {
	case strings.HasPrefix(version, "2.13."):
		return "5.0"
	case strings.HasPrefix(version, "2.6."):
		return "4.2"
	}
	return version
}

// pmiOf finds out how the MPI of a process finds its ranks: by the libraries that it
// needs, or by Open MPI 4's plugins.
func (l *loader) pmiOf(mpi Library, p *linker.Process) PMI {
	pmi := pmiByLibraries(p)
	switch {
	case mpi.Family == OpenMPI && !pmi.PMIx:
		l.pluginPMI(mpi, &pmi)
	case mpi.Family != OpenMPI && !pmi.PMIx && !pmi.Socket:
		pmi.Socket = true // it is built in
	}
	return pmi
}

func pmiByLibraries(p *linker.Process) (pmi PMI) {
	for name, o := range p.Names {
		switch {
		case strings.HasPrefix(name, "libpmix.so"):
			pmi.PMIx, pmi.Version = true, versionIn(path.Base(o.At))
		case strings.HasPrefix(name, "libpmi2.so"), strings.HasPrefix(name, "libpmi.so"):
			pmi.Socket, pmi.By = true, name
		}
	}
	return pmi
}

// pluginPMI looks at the plugins of Open MPI before 5.0.
func (l *loader) pluginPMI(mpi Library, pmi *PMI) {
	for _, dir := range l.pluginDirs(mpi) {
		for _, name := range l.List(dir) {
			pmi.plugin(name)
		}
	}
}

// pluginDirs returns where Open MPI may have its plugins: lib/openmpi, or on Debian
// lib/openmpi/lib/openmpi3.
func (l *loader) pluginDirs(mpi Library) []string {
	lib := mpi.object.Dir()
	dirs, parents := []string{lib + "/openmpi"}, []string{lib, lib + "/openmpi/lib"}
	if slices.Contains(linker.LibraryDirs(l.Arch), lib) {
		parents = parents[1:] // in a directory of the whole system, Open MPI only has lib/openmpi
	}
	for _, parent := range parents {
		for _, name := range l.List(parent) {
			if strings.HasPrefix(name, "openmpi") && parent+"/"+name != dirs[0] {
				dirs = append(dirs, parent+"/"+name)
			}
		}
	}
	return dirs
}

// staticMPI identifies an MPI inside a program by functions and data that no other MPI
// has; no Family if they do not say. It may load its other parts as libraries.
func staticMPI(o *linker.Object, p *linker.Process) Library {
	const (
		ofOpenMPI, ofMPICH = "ompi_mpi_comm_world", "MPIR_Process"
		pmix3, pmixOwn     = "mca_pmix_pmix3x_component", "mca_pmix_ext3x_component"
		pmi2, pmi1         = "mca_pmix_s2_component", "mca_pmix_s1_component"
		pmix, libpmix      = "PMIx_Init", "pmix_globals"
	)
	has, _ := o.In.Tree.Contains(o.In.Path, ofOpenMPI, ofMPICH, pmix3, pmixOwn, pmi2, pmi1, pmix, libpmix)
	l := Library{Path: o.At}
	if p != nil {
		l.PMI = pmiByLibraries(p)
	}
	switch {
	case o.Type != elf.ET_EXEC && o.Type != elf.ET_DYN: // an object file, not a program
	case has[ofOpenMPI]:
		l.Family = OpenMPI
		l.PMI.PMIx = l.PMI.PMIx || has[pmix] || has[pmix3] || has[pmixOwn]
		l.PMI.Socket = l.PMI.Socket || has[pmi2] || has[pmi1]
	case has[ofMPICH]:
		l.Family = MPICH
		l.PMI.PMIx = l.PMI.PMIx || has[libpmix] // MPICH's own PMIx_Init speaks PMI, so only libpmix counts
		l.PMI.Socket = l.PMI.Socket || !l.PMI.PMIx
	}
	return l
}

func (p *PMI) plugin(name string) {
	switch {
	case strings.HasPrefix(name, "mca_pmix_ext"), strings.HasPrefix(name, "mca_pmix_pmix"):
		p.PMIx = true
	case name == "mca_pmix_s2.so", name == "mca_pmix_s1.so":
		p.Socket = true
	}
}

// offered is what srun's --mpi gave the task, judged by the variables that its plugins
// set.
type offered struct{ pmix, socket bool }

func offeredBy(env environment) offered {
	return offered{
		pmix:   env["PMIX_NAMESPACE"] != "" || env["PMIX_RANK"] != "",
		socket: env["PMI_FD"] != "" || env["PMI_PORT"] != "" || env["PMI_CONTROL_PORT"] != "" || env["PMI_CONTROL_FD"] != "",
	}
}

// tasks returns the number of tasks in the step, 0 if unknown.
func tasks(env environment) int {
	for _, name := range []string{"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"} {
		if n, err := strconv.Atoi(env[name]); err == nil {
			return n
		}
	}
	return 0
}

// Step returns how many tasks the step of this environment has, 0 if unknown, and a variable
// of the PMI that srun offers them; empty for none.
func Step(env []string) (count int, variable string) {
	e := newEnvironment(env)
	for _, name := range pmiVariables {
		if e[name] != "" {
			return tasks(e), name
		}
	}
	return tasks(e), ""
}

// pmiVariables are set by the plugins of srun's --mpi.
var pmiVariables = []string{"PMIX_NAMESPACE", "PMIX_RANK", "PMI_FD", "PMI_PORT", "PMI_CONTROL_PORT", "PMI_CONTROL_FD", "PMI_RANK"}

// Doubtful reports, by the environment only, whether this task must check if the ranks
// of its step find each other: only the first of several does.
func Doubtful(env []string) bool {
	e := newEnvironment(env)
	return tasks(e) > 1 && e["SLURM_PROCID"] == "0"
}

// served reports, by the name of the library that an MPI program needs, whether the
// step offers its PMI: then nothing else must be checked.
func served(env environment, program *linker.Object) bool {
	has := offeredBy(env)
	return slices.ContainsFunc(program.Needed, func(name string) bool {
		if strings.HasSuffix(name, ".so.12") { // as MPICH's, which mostly speaks PMI2
			return isMPIName(name) && has.socket
		}
		return isMPIName(name) && has.pmix
	})
}

// hint returns a warning that the ranks will not find each other, and what to do; empty
// if they may. One task prints it for the step.
func hint(env environment, l Library) string {
	n := tasks(env)
	if l.Family == "" || n < 2 || env["SLURM_PROCID"] != "0" {
		return ""
	}
	has, speaks := offeredBy(env), l.PMI
	if !speaks.PMIx && !speaks.Socket || speaks.PMIx && has.pmix || speaks.Socket && has.socket {
		return ""
	}
	var flavours []string
	if speaks.PMIx {
		flavours = append(flavours, "--mpi=pmix")
	}
	if speaks.Socket {
		flavours = append(flavours, "--mpi=pmi2")
	}
	slices.Sort(flavours)
	offer := "neither"
	switch {
	case has.pmix:
		offer = "PMIx"
	case has.socket:
		offer = "PMI2"
	}
	if offer == "neither" {
		return fmt.Sprintf("this step offers no PMI, and %s needs %s: each of its %d tasks will run alone, as rank 0 of 1; use srun %s",
			l, speaks, n, strings.Join(flavours, " or "))
	}
	return fmt.Sprintf("this step offers %s, and %s needs %s: its %d tasks will not find each other; use srun %s",
		offer, l, speaks, n, strings.Join(flavours, " or "))
}
