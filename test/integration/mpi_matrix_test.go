//go:build integration

package integration

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

//go:embed mpi_images.sh
var mpiImages string

// A cell is a combination in the matrix: the MPI of the image's program, the MPI for which the site
// has a profile, and what srun offers.
type cell struct {
	image, mpi         string // a suite of Debian; openmpi or mpich
	siteSuite, siteMPI string
	flavour            string // of srun --mpi
}

func (c cell) String() string {
	return fmt.Sprintf("%s_%s_on_%s_%s_%s", c.image, c.mpi, c.siteSuite, c.siteMPI, c.flavour)
}

// mpiCells has the sites outermost: each has its own configuration.
var mpiCells = func() (all []cell) {
	for _, siteSuite := range []string{"trixie", "bookworm"} {
		for _, siteMPI := range []string{"openmpi", "mpich"} {
			for _, image := range []string{"trixie", "bookworm"} {
				for _, mpi := range []string{"openmpi", "mpich"} {
					for _, flavour := range []string{"pmix", "pmi2"} {
						all = append(all, cell{image, mpi, siteSuite, siteMPI, flavour})
					}
				}
			}
		}
	}
	return all
}()

// These say whose MPI a program runs on.
const (
	sitesMPI  = "the site's"
	imagesMPI = "the image's own"
	refused   = "refused"
)

// expected returns the required result: Debian's newer libraries need a newer glibc than its older
// image has; all other combinations fit.
func (c cell) expected() string {
	switch {
	case c.mpi != c.siteMPI:
		return imagesMPI
	case c.siteSuite == "trixie" && c.image == "bookworm":
		return refused
	}
	return sitesMPI
}

// meets reports whether srun offers the PMI that the MPI uses.
func (c cell) meets() bool { return mpiPMI[c.mpi] == c.flavour }

// says is what the MPI of a suite reports about itself.
var says = map[string]string{
	"trixie openmpi": "Open MPI v5.0.", "trixie mpich": "MPICH Version: 4.2.",
	"bookworm openmpi": "Open MPI v4.1.", "bookworm mpich": "MPICH Version: 4.0.",
}

const debianLib = "/usr/lib/x86_64-linux-gnu/"

// profile is the site's configuration, as an administrator would write it.
func (c cell) profile() string {
	trixie := map[string]string{
		"mpich":   "[mpi.mpich]\nwhen = ['libmpich.so.12', 'libmpi.so.12']\nreplace = ['" + debianLib + "libmpich.so.12']\n",
		"openmpi": "[mpi.openmpi]\nreplace = ['" + debianLib + "libmpi.so.40']\nprefix = '/usr'\n",
	}
	if c.siteSuite == "trixie" {
		return trixie[c.siteMPI]
	}
	const lib = "/opt/site/lib/x86_64-linux-gnu/"
	text := strings.ReplaceAll(trixie[c.siteMPI], debianLib, lib)
	return strings.ReplaceAll(text, "'/usr'", "'/opt/site'") + "closure = ['/opt/site-libraries']\n"
}

// A matrix is a cluster with the images and the programs.
type matrix struct {
	*mpiCluster
	configured string
	rows       []string
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	c := newCluster(t, column{runtime: "ocishim", slurm: "24.11", mode: "run"}, "matrix")
	c.mpi = true
	t.Cleanup(c.down)
	c.start(t, nodes)
	for _, file := range []string{"measure.c", "which.c"} {
		copyFile(t, filepath.Join(repo, "test/mpi", file), filepath.Join(c.onHost("/opt"), file))
	}
	m := &matrix{mpiCluster: &mpiCluster{cluster: c}}
	m.inside(t, "root", "bash", "-c", mpiImages, "bash", filepath.Join(repo, "build"))
	for _, suite := range []string{"trixie", "bookworm"} {
		m.makeBundle(t, suite)
	}
	m.allocate(t)
	return m
}

// makeBundle makes a bundle whose root is the image itself, not a copy.
func (m *matrix) makeBundle(t *testing.T, suite string) {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(repo, sourceBundle, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(config), `"path": "rootfs"`, `"path": "/opt/`+suite+`"`, 1)
	dir := m.onHost("/home/alice/" + suite)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/config.json", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// configure writes the site's configuration; empty for none.
func (m *matrix) configure(t *testing.T, text string) {
	t.Helper()
	if m.configured == text {
		return
	}
	dir := m.onHost("/etc/ocishim")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/config.toml", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m.configured = text
}

// run runs a program of an image.
func (m *matrix) run(c cell, flavour string, nodes, ranks int, command ...string) (out, bad string, err error) {
	args := m.srun(flavour, nodes, ranks, false, "")
	args = append(args[:len(args)-1], append([]string{"--container", "/home/alice/" + c.image}, command...)...)
	environment := mpiCase{mpi: c.mpi, nodes: nodes, ranks: ranks}.environment()
	return m.try("alice", append(append([]string{"env"}, environment...), args...)...)
}

var whichLibrary = regexp.MustCompile(`(?m)^library (.*)$`)

// TestMPIMatrix runs programs of two images on four MPIs of the site, with two PMI flavours of
// srun, and checks which library they really run on.
func TestMPIMatrix(t *testing.T) {
	prepare(t)
	besideOthers(t)
	prepareColumn(t, column{runtime: "ocishim", slurm: "24.11"})
	mustRun(t, "hack/cluster", "root", "--slurm", "24.11", "--mpi")
	mustRun(t, "hack/cluster", "root", "--slurm", "22.05", "--mpi")
	m := newMatrix(t)
	for _, c := range mpiCells {
		t.Run(c.String(), func(t *testing.T) { m.check(t, c) })
	}
	t.Run("three_nodes", m.checkThreeNodes)
	t.Run("linked", m.checkLinked)
	t.Run("drivers", m.checkDrivers)
	t.Run("wrapped", m.checkWrapped)
	t.Run("hints", m.checkHints)
	t.Run("rank_killed", m.checkKilled)
	t.Run("mismatch_own", m.checkOwn)
	t.Run("users_choice", m.checkUsersChoice)
	t.Run("require", m.checkRequire)
	t.Run("explained", m.checkExplained)
	t.Run("detected", m.checkDetected)
	t.Run("torch", m.checkTorch)
	t.Run("slurm_inside", m.checkSlurm)
	t.Run("munge", m.checkMunge)
	if *flagFigures != "" {
		if err := m.write(strings.TrimSuffix(*flagFigures, ".md") + "-matrix.md"); err != nil {
			t.Error(err)
		}
	}
}

func (m *matrix) check(t *testing.T, c cell) {
	m.configure(t, c.profile())
	out, bad, err := m.run(c, c.flavour, 1, 2, "/opt/mpi/which-"+c.mpi)
	found, why := m.outcome(t, c, out, bad, err)
	if found != c.expected() {
		t.Fatalf("it runs on %s, not %s: %v\n%s%s", found, c.expected(), err, out, bad)
	}
	r := row{cell: c, outcome: found, why: why}
	if found != refused {
		r.works = strings.Contains(out, "ranks 2\n") && err == nil
		if r.works != c.meets() {
			t.Errorf("two ranks find each other: %v, want %v: %v\n%s%s", r.works, c.meets(), err, out, bad)
		}
		if hinted := strings.Count(bad, "ocishim: hint: this step offers "); (hinted == 1) == c.meets() {
			t.Errorf("%d hints:\n%s", hinted, bad)
		}
	}
	switch {
	case !r.works:
	case found == sitesMPI:
		m.compareWithBare(t, &r)
	default:
		if _, err := m.measureInside(c, c.flavour, mpiCase{c.mpi, 1, 2}); err != nil {
			t.Errorf("two ranks on the image's own: %v", err)
		}
	}
	m.rows = append(m.rows, r.String())
}

var refusal = regexp.MustCompile(`needs (GLIBC_\S+) of libc.so.6, but the image's \S+ has only up to (GLIBC_\S+)`)

// outcome returns whose MPI it was, by its own report. Some MPIs end without a report if srun
// offers no PMI for them. In that case no refusal of ours counts as expected.
func (m *matrix) outcome(t *testing.T, c cell, out, bad string, err error) (outcome, why string) {
	t.Helper()
	if said := refusal.FindStringSubmatch(bad); said != nil && err != nil {
		return refused, fmt.Sprintf("it needs %s, the image has %s", said[1], said[2])
	}
	said := whichLibrary.FindStringSubmatch(out)
	if said == nil {
		if !c.meets() && !strings.Contains(bad, "ocishim: error") {
			return c.expected(), "it ends in MPI_Init"
		}
		return "nothing", ""
	}
	library := strings.Join(strings.Fields(said[1]), " ")
	private := strings.Contains(out, "file /run/.ocishim/mpi/")
	switch {
	case strings.HasPrefix(library, says[c.siteSuite+" "+c.siteMPI]) && private:
		return sitesMPI, ""
	case strings.HasPrefix(library, says[c.image+" "+c.mpi]) && !private:
		return imagesMPI, ""
	}
	return library, ""
}

// checkLinked tests programs that search for their library themselves, and one that contains it.
func (m *matrix) checkLinked(t *testing.T) {
	c := cell{"trixie", "mpich", "bookworm", "mpich", "pmi2"}
	m.configure(t, c.profile())
	for program, want := range map[string]string{
		"rpath": "bookworm mpich", "runpath": "bookworm mpich", "static": "trixie mpich",
	} {
		out, bad, err := m.run(c, "pmi2", 1, 2, "/opt/mpi/which-"+program)
		said := whichLibrary.FindStringSubmatch(out)
		if err != nil || said == nil || !strings.HasPrefix(strings.Join(strings.Fields(said[1]), " "), says[want]) || !strings.Contains(out, "ranks 2\n") {
			t.Errorf("%s: not two ranks on the MPI of %s: %v\n%s%s", program, want, err, out, bad)
		}
	}
}

// checkWrapped starts the program through a shell.
func (m *matrix) checkWrapped(t *testing.T) {
	c := cell{"trixie", "openmpi", "bookworm", "openmpi", "pmix"}
	m.configure(t, c.profile())
	out, bad, err := m.run(c, "pmix", 1, 2, "sh", "-c", "exec /opt/mpi/which-openmpi")
	if found, _ := m.outcome(t, c, out, bad, err); found != sitesMPI || !strings.Contains(out, "ranks 2\n") {
		t.Errorf("by a shell it runs on %s: %v\n%s%s", found, err, out, bad)
	}
}

// checkOwn lets programs run on the image's MPI if the site's does not fit.
func (m *matrix) checkOwn(t *testing.T) {
	c := cell{"bookworm", "mpich", "trixie", "mpich", "pmi2"}
	m.configure(t, c.profile()+"mismatch = 'own'\n")
	out, bad, err := m.run(c, "pmi2", 1, 2, "/opt/mpi/which-mpich")
	said := whichLibrary.FindStringSubmatch(out)
	if err != nil || said == nil || !strings.Contains(said[1], "4.0.") || !strings.Contains(out, "ranks 2\n") ||
		!strings.Contains(bad, "ocishim: warning: mpi.mpich: ") || !strings.Contains(bad, "needs GLIBC_2.38 of libc.so.6") {
		t.Errorf("%v\n%s%s", err, out, bad)
	}
}

// checkUsersChoice lets the user keep the image's MPI.
func (m *matrix) checkUsersChoice(t *testing.T) {
	c := cell{"trixie", "mpich", "bookworm", "mpich", "pmi2"}
	m.configure(t, c.profile())
	args := m.srun("pmi2", 1, 2, false, "")
	args = append([]string{"env", "OCISHIM_MPI=own"}, append(args[:len(args)-1], "--container", "/home/alice/trixie", "/opt/mpi/which-mpich")...)
	out, bad, err := m.try("alice", args...)
	said := whichLibrary.FindStringSubmatch(out)
	if err != nil || said == nil || !strings.HasPrefix(strings.Join(strings.Fields(said[1]), " "), says["trixie mpich"]) || !strings.Contains(out, "ranks 2\n") {
		t.Errorf("%v\n%s%s", err, out, bad)
	}
}

// checkRequire asks for a fabric that no machine of these tests has: nothing starts.
func (m *matrix) checkRequire(t *testing.T) {
	c := cell{"trixie", "mpich", "trixie", "mpich", "pmi2"}
	m.configure(t, c.profile()+"require = ['cxi']\nmismatch = 'own'\n")
	out, bad, err := m.run(c, "pmi2", 1, 2, "/opt/mpi/which-mpich")
	if err == nil || out != "" || !strings.Contains(bad, `mpi.mpich.require "cxi": the fabric that the site requires is missing: the host has no /dev/cxi*`) {
		t.Errorf("%v\n%s%s", err, out, bad)
	}
}
