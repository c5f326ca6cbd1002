//go:build integration

// Package conformance runs all validation programs of opencontainers/runtime-tools on ocishim
// and, in the same run, on runc with the same libcontainer. ocishim must not do worse.
//
//	make conformance-check
//	make conformance         # also writes docs/conformance.md
//
// It needs root, build/bin/ocishim, and build/conformance, which hack/suite makes.
package conformance

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

var flagWrite = flag.String("write", "", "put the table of results into this document")

// programCount is the number of validation programs in the pinned version of the suite: none may be
// skipped unnoticed.
const programCount = 58

const (
	ours   = "ocishim"
	theirs = "runc"
)

// suiteDir is the directory that hack/suite made.
var suiteDir = filepath.Join(repo, "build", "conformance")

// repo is the root of the repository.
var repo = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// skip skips a test that cannot run here. On CI that is a failure, so that nothing is skipped
// unnoticed.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("cannot run: %s", why)
	}
	t.Skip(why)
}

// TestConformance compares the verdicts of every program.
func TestConformance(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "the suite needs root")
	}
	takeTurn(t)
	programs, runtimes := prepare(t)
	explained := causes(t)
	all := runAll(programs, runtimes)
	for _, program := range programs {
		got := all[program]
		t.Logf("%-32s %s", program, got)
		for again := 0; again < 2 && bad(got, explained) != ""; again++ {
			// An effect of a busy machine does not repeat.
			got[ours], got[theirs] = settle(ours, program), settle(theirs, program)
			t.Logf("%-32s %s (again)", program, got)
		}
		if why := bad(got, explained); why != "" {
			t.Errorf("%s: %s\n%s%s", program, why, got[ours].log(), got[theirs].log())
		}
	}
	t.Logf("ocishim: %s; runc: %s", total(all, ours), total(all, theirs))
	compareTotals(t, total(comparable(all), ours), total(comparable(all), theirs))
	if *flagWrite != "" {
		if err := writeTable(filepath.Join(repo, *flagWrite), table(programs, runtimes, all)); err != nil {
			t.Error(err)
		}
	}
}

// bad returns what is not allowed: that ocishim is worse than runc, or fails without a cause that
// the document names.
func bad(got row, causes string) string {
	switch one := got[ours]; {
	case worse(one.verdict, got[theirs].verdict) && one.program != chance:
		return "worse than " + theirs
	case !one.passes() && !strings.Contains(causes, "`"+one.program+"`"):
		return "fails, and docs/conformance.md does not say why"
	}
	return ""
}

// causes returns the part of the document that explains why programs fail.
func causes(t *testing.T) string {
	text, err := os.ReadFile(filepath.Join(repo, "docs", "conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, causes, found := strings.Cut(string(text), "\n## What fails, and why\n")
	if !found {
		t.Fatal("docs/conformance.md does not say what fails, and why")
	}
	return causes
}

// comparable leaves out programs in which runc reaches no test and ocishim does: their failures are
// not worse than no result.
func comparable(all map[string]row) map[string]row {
	both := map[string]row{}
	for program, got := range all {
		if got[theirs].ok+got[theirs].notOK > 0 || got[ours].ok == 0 {
			both[program] = got
		}
	}
	return both
}

func compareTotals(t *testing.T, ours, theirs totals) {
	if ours.passing < theirs.passing || ours.notOK > theirs.notOK {
		t.Errorf("ocishim: %s; runc: %s", ours, theirs)
	}
}

// takeTurn waits for another run on this machine: the cells have fixed names.
func takeTurn(t *testing.T) {
	lock, err := os.OpenFile("/run/ocishim-conformance.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// prepare puts ocishim beside the other runtimes, and finds the programs to run.
func prepare(t *testing.T) (programs, runtimes []string) {
	binary, err := os.ReadFile(filepath.Join(repo, "build", "bin", ours))
	if err != nil {
		t.Fatalf("%v: make build makes it", err)
	}
	entries, err := os.ReadDir(filepath.Join(suiteDir, "programs"))
	if err != nil {
		t.Fatalf("%v: hack/suite makes it", err)
	}
	if len(entries) != programCount {
		t.Fatalf("%d validation programs, want %d", len(entries), programCount)
	}
	if err := os.WriteFile(filepath.Join(suiteDir, ours), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		programs = append(programs, e.Name())
	}
	if version := runcVersion(t); !strings.Contains(version, pinned(t, "github.com/opencontainers/runc")) {
		t.Fatalf("%s, but go.mod has another version", version)
	}
	runtimes = []string{ours, theirs}
	if _, err := os.Stat(filepath.Join(suiteDir, "crun")); err == nil {
		runtimes = append(runtimes, "crun")
	}
	return programs, runtimes
}

func runcVersion(t *testing.T) string {
	out, err := exec.Command(filepath.Join(suiteDir, theirs), "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// pinned returns the module's version in go.mod, without the v.
func pinned(t *testing.T, module string) string {
	data, err := os.ReadFile(filepath.Join(repo, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(regexp.QuoteMeta(module) + ` v(\S+)`).FindSubmatch(data)
	if found == nil {
		t.Fatalf("no %s in go.mod", module)
	}
	return string(found[1])
}

// row has the outcomes of one program by runtime.
type row map[string]outcome

func (r row) String() string {
	var cells []string
	for _, name := range []string{ours, theirs, "crun"} {
		if out, ok := r[name]; ok {
			cells = append(cells, fmt.Sprintf("%s: %s (%.1fs)", name, out.verdict, out.took.Seconds()))
		}
	}
	return strings.Join(cells, "; ")
}

// runAll runs every program on every runtime. They spend most of their time waiting for a state,
// which they query once a second.
func runAll(programs, runtimes []string) map[string]row {
	var lock sync.Mutex
	all := map[string]row{}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 5*runtime.NumCPU())
	for _, program := range programs {
		all[program] = row{}
		for _, name := range runtimes {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				out := settle(name, program)
				lock.Lock()
				defer lock.Unlock()
				all[program][name] = out
			})
		}
	}
	wg.Wait()
	return all
}
