package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/runtime/imagemount"
)

// imagePrefix begins the names of files in a state root that belong to an image that is served to
// the tasks of a Slurm step on this host: one whose lock a task holds while it looks for the
// server or starts it, and with socketSuffix the server's socket.
const (
	imagePrefix  = ".ocishim-image-"
	socketSuffix = ".socket"
)

// MountImage returns a mount, attached nowhere, of the image in a squashfs file. All tasks of a
// step on this host share one server; without a step the server is for this container alone.
// tasks is how many containers of the step start on this host; 0 if that is not known.
// program is the path of ocishim-image; digest names the image, and path the mount (os.File.Name).
func (s *Store) MountImage(program string, file *os.File, path, digest, step string, tasks int) (*os.File, error) {
	server := imagemount.Server{Program: program, Image: file, Path: path, Tasks: tasks}
	if step == "" || tasks == 1 {
		return server.Start()
	}
	name := s.root.File(imagePrefix + shortened(step) + shortened(digest))
	lock, err := lockFile(name)
	if err != nil {
		return nil, fmt.Errorf("find server of image: %w", err)
	}
	defer lock.Close()
	server.Socket = name + socketSuffix
	mount, err := server.Ask()
	if errors.Is(err, imagemount.ErrNoServer) {
		return server.Start()
	}
	return mount, err
}

// shortened makes a name of fixed length: a socket's path must be short.
func shortened(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// leaveImages removes the files of the step's images that nobody serves any more.
func (s *Store) leaveImages(step string) {
	_ = s.root.EachName(func(name string) {
		if strings.HasPrefix(name, imagePrefix+shortened(step)) {
			sweepImage(s.root.File(name))
		}
	})
}

// sweepImage removes the lock and the socket of an image, given one of them, if no server listens
// and no task is about to start one.
func sweepImage(path string) {
	path = strings.TrimSuffix(path, socketSuffix)
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || !entry.HasName(lock, path) {
		return
	}
	if (imagemount.Server{Socket: path + socketSuffix}).Answers() {
		return
	}
	_ = os.Remove(path + socketSuffix)
	_ = os.Remove(path)
}
