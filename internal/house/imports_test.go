package house_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A ban says what a package may never import, directly or through another package of ours, and why.
// A name that ends in /... stands for the package and all below it. The package need not exist yet.
type ban struct {
	pkg    string
	never  []string
	reason string
}

const (
	libcontainer = "github.com/opencontainers/runc/..."
	cli          = "github.com/urfave/cli/..."
)

// bans name our packages by their directory and all others by import path.
var bans = []ban{
	{
		"bundle",
		[]string{"./...", "os/exec"},
		"the domain: it knows the spec as data and not the caller, so that every edit can be printed and compared",
	},
	{
		"runtime",
		[]string{"./gpu/...", "./internal/slurm/...", cli},
		"the lifecycle of a container depends neither on its contents, nor on the caller or the spelling of the command line",
	},
	{
		"runtime/inplace",
		[]string{libcontainer},
		"it exists to avoid libcontainer, which alone costs more than the whole launch may",
	},
	{
		"runtime/mountpoints",
		[]string{libcontainer, "./internal/process", "./internal/stateroot", cli},
		"only a bundle and a directory of ours decide what is made, not who owns or launches the container",
	},
	{
		"gpu",
		[]string{"./runtime/...", "os/exec"},
		"it finds out what a host has from files: no helper of the host runs, and a fake tree is enough for a test",
	},
	{
		"internal/host",
		[]string{"./bundle/..."},
		"a view of the host for any package: providers decide what to do with it",
	},
	{
		"internal/linker",
		[]string{"./gpu/...", "./internal/mpi/...", "./internal/explain/...", "os/exec"},
		"it reads libraries itself: no ldd and no ldconfig runs on the host or in an image; whose libraries they are is for other packages",
	},
	{
		"internal/mpi",
		[]string{"os/exec"},
		"it reads programs, and runs none: neither of the host nor of an image",
	},
	{
		"internal/slurm",
		[]string{"os/exec"},
		"it reads only its arguments, so that root can use it on a user's job",
	},
	{
		"internal/scrun",
		[]string{"./runtime/..."},
		"its containers run on other hosts, and have no files on this one",
	},
	{
		"internal/entry",
		[]string{"./runtime/...", "./internal/scrun/...", libcontainer, cli},
		"it defines a container's directory, for any package that runs containers",
	},
	{
		"internal/image",
		[]string{"./runtime/...", "./gpu/...", "./internal/plan/...", "./internal/mpi/...", "./internal/slurm/...", "./internal/image/...", "net/http", "os/exec", "archive/tar", cli},
		"it is part of every launch: an image is found and opened; what makes it is another program's, what runs it comes later",
	},
	{
		"internal/image/serve",
		[]string{"./runtime/...", "./gpu/...", "./internal/plan/...", "net/http", "net", "os/exec", cli},
		"it has an image and gives out mounts, and nothing else to do with anybody",
	},
	{
		"internal/config",
		[]string{"./gpu/...", "./internal/mpi/...", "./internal/slurm/..."},
		"policy checks edits, whichever package made them",
	},
	{
		"internal/explain",
		[]string{"./runtime/...", "./gpu/...", "./internal/mpi/...", "./internal/slurm/...", "os/exec", cli},
		"it explains edits, whichever package made them",
	},
	{
		"internal/request",
		[]string{"./runtime/...", "./gpu/...", "./internal/mpi/...", "./internal/plan/...", cli},
		"a request is data: it knows neither the spelling on a command line nor the consequences",
	},
	{
		"internal/plan",
		[]string{"./runtime/...", cli},
		"composition only: `explain` prints a plan without launching it",
	},
}

// words is banned nowhere: it imports no package of ours, and prepares text for messages.
const words = "./internal/text"

func TestBans(t *testing.T) {
	imports := importsOf(t, moduleRoot)
	for _, b := range bans {
		for _, broken := range b.broken(imports) {
			t.Errorf("%s\n\tbanned because: %s", broken, b.reason)
		}
	}
}

func TestOnlyRuntimeUsesLibcontainer(t *testing.T) {
	for pkg, imported := range importsOf(t, moduleRoot) {
		for _, path := range imported {
			if !matches(path, libcontainer) || pkg == "runtime" {
				continue
			}
			t.Errorf("%s imports %s: only runtime uses libcontainer, so that it can be replaced", pkg, path)
		}
	}
}

// A launch needs no network, and has no time for what such packages prepare.
func TestOnlyImagesUseTheNetwork(t *testing.T) {
	for pkg, imported := range importsOf(t, moduleRoot) {
		of := strings.HasPrefix(pkg, "internal/image/") || pkg == "cmd/ocishim-image"
		for _, path := range imported {
			network := path == "net/http" || strings.HasPrefix(path, "github.com/google/go-containerregistry/")
			if network && !of {
				t.Errorf("%s imports %s, which is for ocishim-image", pkg, path)
			}
			if strings.HasPrefix(path, "./internal/image/") && !of {
				t.Errorf("%s imports %s: only ocishim-image imports what makes images", pkg, path)
			}
		}
	}
}

// Test helpers are not part of the program.
func TestOnlyTestsUsePace(t *testing.T) {
	for pkg, imported := range importsOf(t, moduleRoot) {
		if slices.Contains(imported, "./internal/pace") {
			t.Errorf("%s imports internal/pace, which measures the machine for tests", pkg)
		}
	}
}

// broken lists the chains of imports that break the ban.
func (b ban) broken(imports map[string][]string) []string {
	var broken []string
	seen := map[string]bool{}
	var visit func(pkg, chain string)
	visit = func(pkg, chain string) {
		if seen[pkg] {
			return
		}
		seen[pkg] = true
		for _, path := range imports[pkg] {
			if path != "./"+b.pkg && path != words && slices.ContainsFunc(b.never, func(never string) bool { return matches(path, never) }) {
				broken = append(broken, chain+" imports "+path)
			} else if ours, ok := strings.CutPrefix(path, "./"); ok {
				visit(ours, chain+" imports "+ours+", which")
			}
		}
	}
	visit(b.pkg, b.pkg)
	return broken
}

func matches(path, pattern string) bool {
	parent, all := strings.CutSuffix(pattern, "/...")
	return path == parent || all && strings.HasPrefix(path, parent+"/")
}

// importsOf lists what each package of the module imports, without its tests. Our own packages are
// named by their directory, as ./runtime.
func importsOf(t *testing.T, root string) map[string][]string {
	t.Helper()
	module := moduleName(t, root)
	all := map[string]map[string]bool{}
	for _, f := range parseAll(t, root) {
		if f.test {
			continue
		}
		if all[f.dir] == nil {
			all[f.dir] = map[string]bool{}
		}
		for _, spec := range f.syntax.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if ours, ok := strings.CutPrefix(path, module+"/"); ok {
				path = "./" + ours
			}
			all[f.dir][path] = true
		}
	}
	imports := map[string][]string{}
	for pkg, set := range all {
		imports[pkg] = slices.Sorted(maps.Keys(set))
	}
	return imports
}

func moduleName(t *testing.T, root string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(strings.TrimPrefix(line, "module"))
}

// A ban applies to a package that does not exist yet, and through another one.
func TestBansBite(t *testing.T) {
	imports := map[string][]string{
		"bundle":        {"os", "./internal/new", words},
		"gpu":           {"./internal/host"},
		"internal/host": {"os/exec", "./bundle"},
		"internal/new":  {"fmt"},
		"internal/plan": {"./gpu", "github.com/urfave/cli/v2"},
		"runtime":       {"./internal/slurmish", "./runtime/inplace", "github.com/opencontainers/runc/libcontainer"},
	}
	want := []string{
		"bundle imports ./internal/new",
		"gpu imports internal/host, which imports os/exec",
		"internal/host imports ./bundle",
		"internal/plan imports github.com/urfave/cli/v2",
	}
	var got []string
	for _, b := range bans {
		got = append(got, b.broken(imports)...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("broken bans:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
