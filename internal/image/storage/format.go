package storage

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image"
	"github.com/ocishim/ocishim/internal/image/rootfs"
)

// ErrPrivate says that others could read an image that needs credentials.
var ErrPrivate = errors.New("the image needs credentials, but others can read this store")

// sharedFileSystems are file systems that hosts share, by f_type of statfs(2): from linux/magic.h,
// and for those outside Linux from their sources. FUSE may be either, and counts as shared.
var sharedFileSystems = map[uint32]string{
	0x6969:     "nfs",
	0x0bd00bd0: "lustre",
	0x47504653: "gpfs",
	0x19830326: "beegfs",
	0x00c36400: "ceph",
	0xff534d42: "cifs",
	0xfe534d42: "smb2",
	0x517b:     "smb",
	0x01021997: "9p",
	0x5346414f: "afs",
	0x7461636f: "ocfs2",
	0x01161970: "gfs2",
	0xaad7aaea: "panfs",
	0x20030528: "pvfs2", // OrangeFS
	0x65735546: "fuse",
}

// Format returns the best format for images of this store: a file on a shared file system, where a
// tree would cost tens of thousands of inodes; otherwise a tree, which needs no server. It also
// returns the name of a shared file system.
func (s *Store) Format() (format image.Format, name string, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.Dir().Fd()), &st); err != nil {
		return "", "", fmt.Errorf("inspect the file system of store %s: %w", s.Path, err)
	}
	format, name = formatOn(uint32(st.Type))
	if format == image.Squashfs {
		if _, err := rootfs.CanSquashfs(); err != nil {
			return image.Tree, name, nil //nolint:nilerr // a tree always works
		}
	}
	return format, name, nil
}

func formatOn(magic uint32) (image.Format, string) {
	if name, shared := sharedFileSystems[magic]; shared {
		return image.Squashfs, name
	}
	return image.Tree, ""
}

// admits refuses a private image if others than the owner may read the store.
func (s *Store) admits(private bool) error {
	if !private {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(s.Dir().Fd()), &st); err != nil {
		return fmt.Errorf("inspect store %s: %w", s.Path, err)
	}
	if st.Mode&0o077 != 0 {
		return fmt.Errorf("store %s: %w", s.Path, ErrPrivate)
	}
	return nil
}
