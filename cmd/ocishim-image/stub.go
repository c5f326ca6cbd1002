package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"github.com/ocishim/ocishim/internal/environment"
	"github.com/ocishim/ocishim/internal/image"
)

// imageAnnotation is the annotation by which a stub, a bundle that stands for an image, names
// the image to ocishim; pullAnnotation says never if ocishim must not pull it.
const (
	imageAnnotation = "org.ocishim.image"
	pullAnnotation  = "org.ocishim.pull"
)

func (p *program) stubCommand() *cli.Command {
	return &cli.Command{
		Name: "stub", Usage: "print the path of a bundle that stands for an image, for srun --container", ArgsUsage: "IMAGE|ENVIRONMENT|BUNDLE",
		Description: "The image is looked up now: a missing image is an error before the job is submitted, and all hosts and\n" +
			"steps of the job run the same image. For a bundle, its own absolute path is printed.",
		Flags: []cli.Flag{
			platformFlag(),
			&cli.StringFlag{Name: "pull", Usage: "ask the registry `WHEN` missing, always (once per job) or never", DefaultText: "$" + image.PullVariable + ", or missing"},
			&cli.StringFlag{Name: "stubs", Usage: "keep these bundles in `DIR`, which compute hosts must see at the same path", DefaultText: "stubs, beside the store"},
		},
		Action: func(c *cli.Context) error {
			if err := wants(c, 1, 1, "one image or bundle"); err != nil {
				return err
			}
			path, err := p.stub(c, c.Args().First())
			if err == nil {
				fmt.Println(path)
			}
			return err
		},
	}
}

func (p *program) stub(c *cli.Context, name string) (string, error) {
	ref, e, err := p.parseEnvironment(c, name)
	if err != nil {
		return "", err
	}
	annotations := map[string]string{}
	if e != nil {
		if annotations, err = e.ContainerAnnotations(); err != nil {
			return "", err
		}
	} else if ref.Kind == image.KindBundle {
		return ref.Path, nil
	}
	pull, err := p.stubPolicy(c, e)
	if err != nil {
		return "", usageError{err}
	}
	if ref.Kind == image.KindBundle {
		return "", fmt.Errorf("%s: an environment of a bundle: --container takes the bundle, and run-image the environment", e.Image.By)
	}
	digest := image.Digest(name)
	if isDigest(name) {
		err = inStores(c, digest)
	} else {
		digest, err = p.meaning(c, ref, pull)
	}
	if err != nil {
		return "", err
	}
	dir := c.String("stubs")
	if dir == "" {
		dir = filepath.Join(filepath.Dir(c.String("store")), "stubs")
	}
	annotations[imageAnnotation] = ref.WithDigest(digest).String()
	if pull == image.PullNever {
		annotations[pullAnnotation] = string(pull)
	}
	return writeStub(dir, stubOf(annotations))
}

// stubPolicy reads --pull, or the variable for it, or what the environment says.
func (p *program) stubPolicy(c *cli.Context, e *environment.Environment) (image.Pull, error) {
	if e != nil && e.Pull.Value != "" && !c.IsSet("pull") && p.credentials("").Getenv(image.PullVariable) == "" {
		return image.ParsePull(e.Pull.Value, e.Pull.By)
	}
	return p.pullPolicy(c)
}

// inStores fails unless a store has the image: a digest alone does not say where else it is.
func inStores(c *cli.Context, digest image.Digest) error {
	return look(c, func(stores image.Stores) error {
		found, reasons, err := stores.Find(digest)
		if err != nil {
			warn(reasons)
			return err
		}
		return found.Close()
	})
}

// writeStub makes the bundle unless it exists: its name is a hash of its content.
func writeStub(dir string, stub *specs.Spec) (string, error) {
	data, err := json.MarshalIndent(stub, "", "\t")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	path := filepath.Join(dir, hex.EncodeToString(sum[:16]))
	if written, err := os.ReadFile(filepath.Join(path, "config.json")); err == nil && string(written) == string(data) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make stub: %w", err)
	}
	half, err := os.MkdirTemp(dir, ".new.")
	if err != nil {
		return "", fmt.Errorf("make stub: %w", err)
	}
	for _, err := range []error{
		os.Chmod(half, 0o755), os.Mkdir(filepath.Join(half, "rootfs"), 0o755),
		os.WriteFile(filepath.Join(half, "config.json"), data, 0o644),
	} {
		if err != nil {
			return "", errors.Join(fmt.Errorf("make stub: %w", err), os.RemoveAll(half))
		}
	}
	if err := os.Rename(half, path); err != nil {
		err = errors.Join(err, os.RemoveAll(half))
		if _, missing := os.Stat(filepath.Join(path, "config.json")); missing != nil {
			return "", fmt.Errorf("make stub: %w", err)
		}
	}
	return path, nil
}

// stubOf returns the smallest configuration that Slurm accepts as a bundle. Slurm fills in the
// command and the job's environment.
func stubOf(annotations map[string]string) *specs.Spec {
	return &specs.Spec{
		Version:     specs.Version,
		Root:        &specs.Root{Path: "rootfs", Readonly: true},
		Process:     &specs.Process{Args: []string{"true"}, Cwd: "/", Env: []string{}},
		Mounts:      []specs.Mount{},
		Linux:       &specs.Linux{},
		Annotations: annotations,
	}
}
