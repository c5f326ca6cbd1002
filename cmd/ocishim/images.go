package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/config"
	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/plan"
	"github.com/ocishim/ocishim/internal/process"
	"github.com/ocishim/ocishim/internal/request"
	"github.com/ocishim/ocishim/internal/slurm"
	"github.com/ocishim/ocishim/runtime"
)

// errNoImageProgram says that ocishim was installed without its other half.
var errNoImageProgram = errors.New("ocishim-image is not installed")

// errNotHere says that --pull=never was given, and no store has the image.
var errNotHere = errors.New("it is in no store, and is not to be pulled")

func imageCommand() *cli.Command {
	return &cli.Command{
		Name:            "image",
		Usage:           "pull images, list and remove them: executes ocishim-image",
		ArgsUsage:       "VERB [ARGUMENT]...",
		Description:     "`ocishim image --help` lists the verbs; see ocishim-image(8).",
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			program, err := imageProgram()
			if err != nil {
				return err
			}
			args := append([]string{"ocishim-image"}, imageOptions(cfg, os.Environ())...)
			verb := c.Args().Slice()
			if stubs := usersPath(cfg.Image.Stubs, os.Environ()); stubs != "" && c.Args().First() == "stub" {
				verb = slices.Insert(verb, 1, "--stubs", stubs)
			}
			err = syscall.Exec(program, append(args, verb...), os.Environ())
			return fmt.Errorf("execute %s: %w", program, err)
		},
	}
}

// imageProgram finds ocishim-image beside this program, or where packages put programs
// that people do not call.
func imageProgram() (string, error) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("find ocishim-image: %w", err)
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, "ocishim-image"), filepath.Join(dir, "../libexec/ocishim/ocishim-image")} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w beside %s", errNoImageProgram, self)
}

// imageOptions are what the site decides about images, as ocishim-image is told.
func imageOptions(cfg *config.Config, env []string) []string {
	var options []string
	if store := usersStore(cfg, env); store != "" {
		options = append(options, "--store", store)
	}
	if local := localStore(cfg, env); local != "" {
		options = append(options, "--local-store", local)
	}
	for _, store := range cfg.Image.Stores {
		options = append(options, "--site-store", store)
	}
	for _, registry := range cfg.Image.Registries {
		options = append(options, "--registry", registry)
	}
	if cfg.Image.Format != "auto" {
		options = append(options, "--prefer", cfg.Image.Format)
	}
	if cfg.Image.Bare {
		options = append(options, "--bare")
	}
	return append(options, environmentDirs(cfg)...)
}

// usersStore is the store that the images of the environment's user are imported into;
// empty where no home is known.
func usersStore(cfg *config.Config, env []string) string {
	if cfg.Image.Store != "" {
		return usersPath(cfg.Image.Store, env)
	}
	if dir, _ := bundle.Getenv(env, "XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ocishim", "images")
	}
	if home, _ := bundle.Getenv(env, "HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "ocishim", "images")
	}
	return ""
}

// localStore is the store on this host's own disk; empty where the site has none.
func localStore(cfg *config.Config, env []string) string {
	if cfg.Image.Local == "" {
		return ""
	}
	return usersPath(cfg.Image.Local, env)
}

// findImage opens the image that a bundle of a Slurm task stands for.
func (l *launchArgs) findImage(r request.Request, cfg *config.Config, t *target) (*image.Image, error) {
	if runtime.BeganAsRoot() {
		// Whoever writes annotations for an engine cannot make root fetch something.
		return nil, fmt.Errorf("%s: %w", r.Image.By, plan.ErrRoot)
	}
	// Slurm starts a runtime without variables, and puts the job's into the bundle.
	finder, err := newImageFinder(cfg, r.Pull, workdir(l.bundle, t), slices.Concat(os.Environ(), l.bundle.Spec.Process.Env))
	if err != nil {
		return nil, err
	}
	finder.tree, finder.changed = l.tree, changes(cfg, r)
	return finder.find(r.Image)
}

// usersPath replaces %u and %U in a path of the site's. It is empty where that is not
// possible.
func usersPath(pattern string, env []string) string {
	values := slurm.Values{UID: strconv.Itoa(os.Geteuid())}
	values.User, _ = bundle.Getenv(env, "USER")
	if u, err := user.LookupId(values.UID); err == nil {
		values.User = u.Username
	}
	path, err := slurm.Expand(pattern, values)
	if err != nil {
		logrus.Warnf("path %q in the configuration: %v", pattern, err)
		return ""
	}
	return path
}

// An imageFinder turns an image's name into an image of a store.
type imageFinder struct {
	config *config.Config
	env    []string // the user's: home, credentials, proxies
	dir    string   // where relative paths begin
	job    string   // pins names to digests; empty outside of jobs
	pull   image.Pull
	tree   bool // only a directory will do, not a file that is mounted

	// changed says that the container changes the image's files in a layer of its own, which it
	// can only where they belong to the user. It is empty if nobody wants that.
	changed request.Choice
}

func newImageFinder(cfg *config.Config, pull request.Choice, dir string, env []string) (*imageFinder, error) {
	policy, err := image.ParsePull(pull.Value, pull.By)
	if err != nil {
		return nil, usageError{err}
	}
	return &imageFinder{config: cfg, env: env, dir: dir, pull: policy, job: image.JobOf(env)}, nil
}

// find opens the image that the name means for the job, and imports it where no store has
// it. The caller closes it.
func (f *imageFinder) find(wish request.Choice) (*image.Image, error) {
	found, err := f.resolve(wish.Value)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", wish.By, wish.Value, err)
	}
	f.note(found)
	return found, nil
}

// parse reads a name by its form and, for a path, by what is there.
func (f *imageFinder) parse(name string) (image.Reference, error) {
	home, _ := bundle.Getenv(f.env, "HOME")
	rules := image.Rules{Registries: f.config.Image.Registries, Bare: f.config.Image.Bare, Dir: f.dir, Home: home}
	ref, err := image.ParseReference(name, rules)
	if err != nil {
		return ref, err
	}
	return ref.Decide()
}

func (f *imageFinder) resolve(name string) (*image.Image, error) {
	ref, err := f.parse(name)
	if err != nil {
		return nil, err
	}
	asked, name := name, ref.String()
	if !ref.Short {
		asked = name
	}
	stores := f.openStores()
	defer func() { _ = stores.Close() }() // those that are open then
	digest, pinned := ref.Digest, ref.Digest != "" || f.job == ""
	if digest == "" {
		if digest = f.pinned(stores, name); digest != "" {
			pinned = true
		} else {
			digest = f.known(stores, ref)
		}
	}
	if digest == "" {
		if digest, err = f.pullImage(asked, &stores); err != nil {
			return nil, err
		}
	}
	if !pinned {
		if digest, err = f.pin(name, digest); err != nil {
			return nil, err
		}
	}
	found, err := f.open(stores, digest)
	if !errors.Is(err, image.ErrNotFound) {
		return found, err
	}
	// The store has lost it, or another step has pinned an image that it never had.
	again := ref.WithDigest(digest).String()
	if ref.Short {
		again = asked + "@" + string(digest)
	}
	if digest, err = f.pullImage(again, &stores); err != nil {
		return nil, err
	}
	return f.open(stores, digest)
}

// open opens an image of the stores.
func (f *imageFinder) open(stores image.Stores, digest image.Digest) (*image.Image, error) {
	formats := []image.Format{image.Tree}
	if !f.tree {
		formats = append(formats, image.Squashfs)
	}
	found, reasons, err := stores.Find(digest, formats...)
	for _, reason := range reasons {
		logrus.Warn(reason)
	}
	if err != nil {
		return nil, err
	}
	return f.preferOwn(found, stores)
}

func (f *imageFinder) openStores() image.Stores {
	var places []image.Place
	if local := localStore(f.config, f.env); local != "" {
		places = append(places, image.Place{Path: local, Owners: []int{os.Geteuid()}})
	}
	for _, path := range f.config.Image.Stores {
		places = append(places, image.Place{Path: path})
	}
	if own := f.own(); own.Path != "" {
		places = append(places, own)
	}
	stores, reasons := image.OpenStores(places...)
	for _, reason := range reasons {
		logrus.Warn(reason)
	}
	return stores
}

// own is where the user's store may be.
func (f *imageFinder) own() image.Place {
	return image.Place{Path: usersStore(f.config, f.env), Owners: []int{os.Geteuid()}}
}

// pinned returns what the name means to the job; empty where that is not known yet.
func (f *imageFinder) pinned(stores image.Stores, name string) image.Digest {
	if f.job == "" {
		return ""
	}
	for _, store := range stores {
		if pinned, err := store.Pinned(f.job, name); err == nil {
			f.sayMoved(stores, pinned)
			return pinned.Digest
		}
	}
	return ""
}

// known returns what the reference means to a store. It is empty where it means nothing yet, or
// is to be asked for anew.
func (f *imageFinder) known(stores image.Stores, ref image.Reference) image.Digest {
	if f.pull == image.PullAlways {
		return ""
	}
	for _, candidate := range ref.Candidates() {
		if found, _, err := stores.Lookup(candidate.String()); err == nil {
			return found.Digest
		}
	}
	return ""
}

// sayMoved says, once per step, that a name means another image by now.
func (f *imageFinder) sayMoved(stores image.Stores, pinned image.Ref) {
	if rank, _ := bundle.Getenv(f.env, "SLURM_PROCID"); rank != "" && rank != "0" {
		return
	}
	now, _, err := stores.Lookup(pinned.Name)
	if line := now.Moved(pinned); err == nil && line != "" {
		fmt.Fprintf(os.Stderr, "ocishim: note: %s; this job keeps the latter\n", line)
	}
}

// pullImage imports the image with ocishim-image, which shows progress, and returns its
// digest. It opens the stores anew: the user's may not have existed.
func (f *imageFinder) pullImage(name string, stores *image.Stores) (image.Digest, error) {
	if f.pull == image.PullNever {
		return "", f.notHere()
	}
	if ref, err := f.parse(name); err == nil && ref.Kind == image.KindName && !f.config.Image.Bare {
		return "", f.noName(name)
	}
	program, err := imageProgram()
	if err != nil {
		return "", err
	}
	args := append(imageOptions(f.pullConfig(), f.env), "pull")
	if f.tree {
		args = append(args, "--format", string(image.Tree))
	}
	cmd := exec.Command(program, append(args, "--", name)...)
	cmd.Dir, cmd.Env, cmd.Stderr = f.dir, f.env, os.Stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", exitStatus(exitFailed) // it has said why
	}
	if err != nil {
		return "", fmt.Errorf("pull: %w", err)
	}
	_ = stores.Close()
	*stores = f.openStores()
	return image.Digest(strings.TrimSpace(string(out))), nil
}

// pin notes which image the name means for the rest of the job, and returns which one
// that is: another step may have been faster.
func (f *imageFinder) pin(name string, digest image.Digest) (image.Digest, error) {
	store, err := image.OpenStore(f.own())
	if errors.Is(err, os.ErrNotExist) {
		return digest, nil // it is in a store of the site's, and the user has none
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = store.Close() }()
	ref, err := store.Pin(f.job, image.Ref{Name: name, Digest: digest, Time: time.Now().UTC()})
	return ref.Digest, err
}

// note keeps the image from being evicted while the job runs. Where that cannot be noted
// the launch goes on.
func (f *imageFinder) note(found *image.Image) {
	err := found.Touch()
	if task, _ := bundle.Getenv(f.env, "SLURM_LOCALID"); err == nil && task == "0" {
		err = f.mark(found)
	}
	if err != nil {
		logrus.Warn(err)
	}
}

// longestJob is for how long an image is taken to be in use by a job of another host.
const longestJob = 31 * 24 * time.Hour

func (f *imageFinder) mark(found *image.Image) error {
	self, err := process.Identify(os.Getpid())
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	return found.Mark(image.Use{
		Host: host, Boot: process.BootID(), Process: self, Pids: process.Numbering(), Job: f.job, Until: time.Now().Add(longestJob),
	})
}
