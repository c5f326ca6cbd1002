package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/pace"
)

// A sameCase is a container of the hpc profile that both launchers must make the same.
type sameCase struct {
	// image changes the image, spec the configuration; config is the site's, with WORK and
	// SITE for the directories of the host.
	image  func(p *samePlace, rootfs string) error
	spec   func(p *samePlace, spec *specs.Spec)
	config string
	args   []string // options of run
	step   bool     // called as for a Slurm task
	fails  string   // part of the error, if one is expected
	want   map[string]string
}

// A samePlace is where such a container runs: directories of the host that must not change.
type samePlace struct {
	t    *testing.T
	dir  string
	work string // the working directory
	site string // what a site mounts
	tmp  string // a name in the host's /tmp that is not in use
}

func newSamePlace(t *testing.T) *samePlace {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &samePlace{t, dir, dir + "/work", dir + "/site", "/tmp/ocishim-same-" + filepath.Base(filepath.Dir(dir)) + uniqueID()}
	for _, made := range []string{p.work + "/sub", p.site + "/sub"} {
		if err := os.MkdirAll(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(p.site+"/file", []byte("of the site\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// makeImage makes an image around one program.
func (p *samePlace) makeImage(rootfs string) {
	p.t.Helper()
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "run", "home", "usr/lib", "var/tmp"} {
		if err := os.MkdirAll(filepath.Join(rootfs, dir), 0o755); err != nil {
			p.t.Fatal(err)
		}
	}
	err := errors.Join(
		os.Chmod(rootfs+"/tmp", 0o777|os.ModeSticky),
		os.Link(filepath.Join(shared.dir, "bin", "looks"), rootfs+"/bin/looks"),
		os.WriteFile(rootfs+"/etc/passwd", []byte("image:x:4711:4711::/image:/bin/sh\n"), 0o644),
		os.WriteFile(rootfs+"/etc/hosts", []byte("127.0.0.1 image\n"), 0o644),
	)
	if err != nil {
		if err = copyFile(filepath.Join(shared.dir, "bin", "looks"), rootfs+"/bin/looks", 0o755); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *samePlace) makeSpec() *specs.Spec {
	p.t.Helper()
	spec, err := exampleSpec()
	if err != nil {
		p.t.Fatal(err)
	}
	spec.Root.Path, spec.Root.Readonly = "rootfs", false
	spec.Process.Args = []string{"/bin/looks", p.work, p.site, p.site + "/file", p.site + "/sub", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"}
	spec.Process.Env = []string{"PATH=/bin"}
	return spec
}

// seen is the result of a launch.
type seen struct {
	words  map[string]string
	err    string
	failed bool
}

// launch runs the bundle in place, or by libcontainer.
func (p *samePlace) launch(c sameCase, bundle string, byLibcontainer bool) seen {
	p.t.Helper()
	spec := p.makeSpec()
	if c.spec != nil {
		c.spec(p, spec)
	}
	if byLibcontainer {
		if spec.Hooks == nil {
			spec.Hooks = new(specs.Hooks)
		}
		// A poststop hook runs after the end, which needs libcontainer.
		spec.Hooks.Poststop = append(spec.Hooks.Poststop, specs.Hook{Path: "/bin/true"})
	}
	id := uniqueID()
	env := []string{"PATH=" + os.Getenv("PATH")}
	if c.step {
		id = "n1." + currentUser(p.t) + "." + strings.TrimPrefix(id, "test-") + ".0.0"
		env = append(env, "SLURM_JOB_ID="+strings.TrimPrefix(id, "test-"), "SLURM_STEP_ID=0")
		spec.Process.Env = append(spec.Process.Env, "SLURM_JOB_ID=1")
	}
	if err := writeSpec(bundle, spec); err != nil {
		p.t.Fatal(err)
	}
	config := filepath.Join(p.dir, "config.toml")
	text := strings.NewReplacer("WORK", p.work, "SITE", p.site).Replace(c.config)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := pace.Context(p.t.Context(), time.Minute)
	defer cancel()
	state := filepath.Join(p.dir, "state")
	args := append([]string{"--config", config, "--root", state, "--log", filepath.Join(p.dir, "log"), "--log-level", "debug", "run", "--profile", "hpc", "-b", bundle}, c.args...)
	cmd := exec.CommandContext(ctx, shared.program(), append(args, id)...)
	var stderr strings.Builder
	cmd.Dir, cmd.Env, cmd.Stderr = p.work, env, &stderr
	out, err := cmd.Output()
	result := seen{err: said(stderr.String()), failed: err != nil}
	if err == nil {
		if err := json.Unmarshal(out, &result.words); err != nil {
			p.t.Fatalf("%v: %s", err, out)
		}
	} else if ctx.Err() != nil {
		p.t.Errorf("it hangs")
	}
	_ = exec.Command(shared.program(), "--root", state, "delete", "--force", id).Run()
	log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	why := ""
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "launched by libcontainer") {
			why = line
		}
	}
	if (why != "") != byLibcontainer && !result.failed && !strings.Contains(why, "libcontainer: mount at /mnt: option") {
		p.t.Errorf("launched by libcontainer: %q, want %v", why, byLibcontainer)
	}
	_ = os.Remove(filepath.Join(p.dir, "log"))
	return result
}

// said returns the error and hint lines of stderr.
func said(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "ocishim: error:") || strings.HasPrefix(line, "ocishim: hint:") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// snapshot describes the host, the image and the bundle around the container.
func (p *samePlace) snapshot(bundle string) string {
	var b strings.Builder
	for _, top := range []string{p.work, p.site, bundle} {
		_ = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err != nil || path == bundle+"/config.json" {
				return nil //nolint:nilerr // it is compared as it is
			}
			info, err := e.Info()
			if err == nil && !info.IsDir() {
				fmt.Fprintf(&b, "%q %v %d\n", path, info.Mode(), info.Size())
			} else if err == nil {
				fmt.Fprintf(&b, "%q %v\n", path, info.Mode())
			}
			return nil
		})
	}
	names, _ := filepath.Glob(p.tmp + "*")
	fmt.Fprintf(&b, "%q\n", names)
	return b.String()
}

// try runs a case with both launchers, and compares the results.
func (c sameCase) try(t *testing.T) {
	t.Helper()
	p := newSamePlace(t)
	bundle := filepath.Join(p.dir, "bundle")
	p.makeImage(bundle + "/rootfs")
	if c.image != nil {
		if err := c.image(p, bundle+"/rootfs"); err != nil {
			t.Fatal(err)
		}
	}
	before := p.snapshot(bundle)
	inPlace := p.launch(c, bundle, false)
	if after := p.snapshot(bundle); after != before {
		t.Errorf("in place: there was\n%sand is\n%s", before, after)
	}
	by := p.launch(c, bundle, true)
	if after := p.snapshot(bundle); after != before {
		t.Errorf("by libcontainer: there was\n%sand is\n%s", before, after)
	}
	if inPlace.failed != by.failed {
		config, _ := os.ReadFile(bundle + "/config.json")
		t.Fatalf("in place: %v by libcontainer: %v\n%s\n%s\n%s", inPlace.err, by.err, c.config, config, before)
	}
	if inPlace.failed != (c.fails != "") && c.fails != "either" {
		t.Fatalf("it fails: %v, want %q: %s", inPlace.failed, c.fails, inPlace.err)
	}
	if inPlace.failed {
		if c.fails != "either" && (!strings.Contains(inPlace.err, c.fails) || !strings.Contains(by.err, c.fails)) {
			t.Errorf("no %q in %s or %s", c.fails, inPlace.err, by.err)
		}
		return
	}
	for key, value := range c.want {
		value = strings.NewReplacer("WORK", p.work, "SITE", p.site).Replace(value)
		key = strings.NewReplacer("WORK", p.work, "SITE", p.site).Replace(key)
		if !strings.Contains(inPlace.words[key], value) {
			t.Errorf("%s is %q, want %q", key, inPlace.words[key], value)
		}
	}
	lines := differences(p.onlyOwn(inPlace.words), p.onlyOwn(by.words))
	for _, line := range lines {
		t.Error(line)
	}
	if len(lines) > 0 {
		config, _ := os.ReadFile(bundle + "/config.json")
		t.Logf("%s\n%s\n%s", c.config, config, before)
	}
}

// onlyOwn leaves out the sources of mounts, the mounts that make up an image without mount points,
// and other tests' mounts in the host's /tmp.
func (p *samePlace) onlyOwn(words map[string]string) map[string]string {
	own := map[string]string{}
	for key, value := range words {
		if strings.HasPrefix(key, "mount ") {
			from, what, _ := strings.Cut(value, "|")
			if key != "mount /" && (strings.Contains(from, "/bundle/rootfs") || strings.Contains(from, "/scaffold/")) {
				continue
			}
			if strings.HasPrefix(key, "mount /tmp/") && !strings.HasPrefix(key, "mount "+p.dir) {
				continue
			}
			if strings.Contains(key, "/scaffold/") || strings.Contains(key, "/bundle/rootfs/") {
				continue // of the state directory and the image, which are in the host's /tmp here
			}
			value = what
		}
		own[key] = value
	}
	return own
}

// differences lists the differences that docs/launchers.md does not have.
func differences(inPlace, by map[string]string) []string {
	known := knownDifferences()
	keys := maps.Clone(inPlace)
	maps.Copy(keys, by)
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if inPlace[key] != by[key] && !slices.Contains(known, key) {
			lines = append(lines, fmt.Sprintf("%s: in place %q, by libcontainer %q", key, inPlace[key], by[key]))
		}
	}
	return lines
}
