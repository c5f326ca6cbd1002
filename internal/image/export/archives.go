package export

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/ocishim/ocishim/internal/image/archive"
)

// refName is the annotation that names an image in a layout.
const refName = "org.opencontainers.image.ref.name"

// layout writes a layout called oci. The layers of a store's image are not compressed; they are now,
// with gzip, which every program reads.
func (w *writer) layout(ctx context.Context) error {
	c := w.src.Config
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: w.src.Platform.OS, Architecture: w.src.Platform.Architecture, Variant: w.src.Platform.Variant,
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: c.User, Env: c.Env, Entrypoint: c.Entrypoint, Cmd: c.Cmd, WorkingDir: c.WorkingDir, Labels: c.Labels,
			StopSignal: c.StopSignal, Volumes: c.Volumes, ExposedPorts: c.ExposedPorts,
		},
	})
	if err != nil {
		return err
	}
	for _, l := range w.src.Layers {
		content, err := l.Open(ctx)
		if err != nil {
			return err
		}
		if img, err = mutate.AppendLayers(img, stream.NewLayer(&counting{content, w.Read})); err != nil {
			return err
		}
	}
	path, err := layout.Write(filepath.Join(w.path, "oci"), empty.Index)
	if err != nil {
		return err
	}
	var options []layout.Option
	if w.Tag != "" {
		options = append(options, layout.WithAnnotations(map[string]string{refName: w.Tag}))
	}
	return path.AppendImage(img, options...)
}

// counting reports how many bytes are read.
type counting struct {
	io.ReadCloser
	count func(int)
}

// Read reads and counts.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.count(n)
	return n, err
}

// file makes the file called archive.
func (w *writer) file(write func(f *os.File) error) error {
	f, err := w.dir.OpenFile("archive", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666) // the umask applies
	if err != nil {
		return err
	}
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	return f.Sync()
}

func (w *writer) ociArchive(ctx context.Context) error {
	if err := w.layout(ctx); err != nil {
		return err
	}
	dir, err := w.dir.OpenRoot("oci")
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // only read from
	return w.file(func(f *os.File) error { return archive.Directory(ctx, f, dir) })
}

func (w *writer) dockerArchive(ctx context.Context) error {
	if err := w.layout(ctx); err != nil {
		return err
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(w.path, "oci"))
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(w.Tag)
	if err != nil {
		// Docker does not accept the tag: use a name made from the digest.
		if tag, err = name.NewTag("image:" + manifest.Manifests[0].Digest.Hex[:12]); err != nil {
			return err
		}
	}
	return w.file(func(f *os.File) error { return tarball.Write(tag, img, f) })
}

// copyPacked copies the squashfs file that the image has.
func (w *writer) copyPacked(ctx context.Context) error {
	p, err := w.src.Packed(ctx)
	if err != nil {
		return err
	}
	f, err := w.dir.OpenFile("root.sqfs", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // the umask applies
	if err != nil {
		return err
	}
	defer f.Close()
	content := &counting{io.NopCloser(io.NewSectionReader(p.File, p.Offset, p.Size)), w.Read}
	n, err := io.Copy(f, content)
	if err == nil && n != p.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return f.Sync()
}
