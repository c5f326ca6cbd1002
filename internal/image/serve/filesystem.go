package serve

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/squashfs"
)

// A fileSystem answers the kernel's requests. An image does not change: the kernel is told
// to keep all it has learnt, names that do not exist too, and not to ask when files and
// directories are opened and closed.
type fileSystem struct {
	fuse.RawFileSystem // ENOSYS to all the rest: the kernel asks once and never again
	image              *squashfs.Image
	uid, gid           uint32
	opendir            bool // the kernel has to be told that directories are opened
}

// forever is how long the kernel may keep what it has learnt, in seconds.
const forever = 1 << 30

func newFileSystem(im *squashfs.Image, uid, gid uint32) *fileSystem {
	return &fileSystem{RawFileSystem: fuse.NewDefaultRawFileSystem(), image: im, uid: uid, gid: gid}
}

// String names it in the kernel's and the library's messages.
func (f *fileSystem) String() string { return "squashfs" }

// Init looks at what the kernel can: before Linux 5.1 it takes ENOSYS of opendir for an error.
func (f *fileSystem) Init(s *fuse.Server) {
	f.opendir = s.KernelSettings().Flags64()&fuse.CAP_NO_OPENDIR_SUPPORT == 0
}

// The id of a FUSE inode is its position in the image, so the server keeps no table of
// ids. FUSE never uses 0, and reserves 1 for the root.
const firstNode = fuse.FUSE_ROOT_ID + 1

func (f *fileSystem) nodeOf(ref squashfs.Ref) uint64 {
	if ref == f.image.Root() {
		return fuse.FUSE_ROOT_ID
	}
	return uint64(ref) + firstNode
}

func (f *fileSystem) inode(node uint64) (squashfs.Inode, error) {
	if node == fuse.FUSE_ROOT_ID {
		return f.image.Inode(f.image.Root())
	}
	return f.image.Inode(squashfs.Ref(node - firstNode))
}

// status is what the kernel tells the caller of an error: what is wrong with the image is
// an error of input and output, and of its file what the kernel said of that.
func status(err error) fuse.Status {
	var errno syscall.Errno
	switch {
	case err == nil:
		return fuse.OK
	case errors.Is(err, fs.ErrNotExist):
		return fuse.ENOENT
	case errors.Is(err, fs.ErrInvalid):
		return fuse.EINVAL
	case errors.As(err, &errno) && (errno == unix.ESTALE || errno == unix.ENOMEM || errno == unix.ETIMEDOUT):
		return fuse.Status(errno)
	}
	return fuse.EIO
}

// types has the kernel's kinds of files by squashfs's.
var types = [...]uint32{
	squashfs.Directory: unix.S_IFDIR, squashfs.File: unix.S_IFREG, squashfs.Symlink: unix.S_IFLNK, squashfs.BlockDevice: unix.S_IFBLK,
	squashfs.CharDevice: unix.S_IFCHR, squashfs.Fifo: unix.S_IFIFO, squashfs.Socket: unix.S_IFSOCK,
}

// attributes are those of an inode, with what an unpacked tree would have: all belongs to
// one user, who may read everything, and nothing gives the rights of another.
func (f *fileSystem) attributes(i *squashfs.Inode, out *fuse.Attr) {
	mode := uint32(i.Mode) &^ (unix.S_ISUID | unix.S_ISGID)
	switch i.Type {
	case squashfs.Directory:
		mode |= 0o700
	case squashfs.File:
		mode |= 0o600
		if mode&0o111 != 0 {
			mode |= 0o100
		}
	}
	seconds := uint64(i.Time.Unix())
	*out = fuse.Attr{
		Ino: uint64(i.Number), Size: i.Size, Blocks: (i.Size - i.Holes + 511) / 512, Atime: seconds, Mtime: seconds, Ctime: seconds,
		Mode: types[i.Type] | mode, Nlink: i.Links, Owner: fuse.Owner{Uid: f.uid, Gid: f.gid}, Rdev: i.Device,
	}
}

// entry fills in an answer about the inode at ref.
func (f *fileSystem) entry(ref squashfs.Ref, out *fuse.EntryOut) error {
	if ref == f.image.Root() {
		return squashfs.ErrCorrupt // the root within the tree
	}
	i, err := f.image.Inode(ref)
	if err != nil {
		return err
	}
	f.attributes(&i, &out.Attr)
	out.NodeId, out.EntryValid, out.AttrValid = f.nodeOf(ref), forever, forever
	return nil
}

// Lookup finds a name. The kernel also caches that a name does not exist.
func (f *fileSystem) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	dir, err := f.inode(header.NodeId)
	if err != nil {
		return status(err)
	}
	ref, err := f.image.Lookup(&dir, []byte(name))
	if errors.Is(err, fs.ErrNotExist) {
		*out = fuse.EntryOut{EntryValid: forever}
		return fuse.OK
	}
	if err == nil {
		err = f.entry(ref, out)
	}
	return status(err)
}

// Forget has nothing to forget.
func (f *fileSystem) Forget(_, _ uint64) {}

// GetAttr returns attributes that the kernel has not got from Lookup: usually only the root's.
func (f *fileSystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	i, err := f.inode(in.NodeId)
	if err != nil {
		return status(err)
	}
	f.attributes(&i, &out.Attr)
	out.AttrValid = forever
	return fuse.OK
}

// Readlink tells the target of a symbolic link, which the kernel keeps.
func (f *fileSystem) Readlink(_ <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	i, err := f.inode(header.NodeId)
	if err != nil {
		return nil, status(err)
	}
	target, err := f.image.Target(&i)
	return target, status(err)
}

// Open has the kernel open files by itself, with what it has cached of them.
func (f *fileSystem) Open(_ <-chan struct{}, _ *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	return fuse.ENOSYS
}

// OpenDir is as Open, where the kernel can.
func (f *fileSystem) OpenDir(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !f.opendir {
		return fuse.ENOSYS
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	return fuse.OK
}

// Flush is nothing to be asked for when a file is closed.
func (f *fileSystem) Flush(_ <-chan struct{}, _ *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Read hands out what the image's caches hold, without a copy.
func (f *fileSystem) Read(_ <-chan struct{}, in *fuse.ReadIn, _ []byte) (fuse.ReadResult, fuse.Status) {
	i, err := f.inode(in.NodeId)
	if err != nil {
		return nil, status(err)
	}
	pieces, err := f.image.ReadAt(&i, in.Offset, int(in.Size))
	if err != nil {
		return nil, status(err)
	}
	return fuse.ReadResultVector(pieces), fuse.OK
}

// Places in a directory begin with those of . and .., which an image does not list.
const (
	afterDot    = 1
	afterDotDot = 2
)

// ReadDir lists a directory.
func (f *fileSystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.list(in, func(e fuse.DirEntry, _ squashfs.Ref) bool { return out.AddDirEntry(e) })
}

// ReadDirPlus lists a directory with the inodes of its members.
func (f *fileSystem) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.list(in, func(e fuse.DirEntry, ref squashfs.Ref) bool {
		entry := out.AddDirLookupEntry(e)
		if entry == nil || e.Off <= afterDotDot {
			return entry != nil
		}
		// Without attributes the kernel lists the name, and asks for the rest later.
		_ = f.entry(ref, entry)
		return true
	})
}

// list calls add for each member from a place on, until it has no room.
func (f *fileSystem) list(in *fuse.ReadIn, add func(fuse.DirEntry, squashfs.Ref) bool) fuse.Status {
	dir, err := f.inode(in.NodeId)
	if err != nil {
		return status(err)
	}
	parent := dir.Parent()
	if in.NodeId == fuse.FUSE_ROOT_ID {
		parent = dir.Number
	}
	dots := [...]fuse.DirEntry{{Name: ".", Ino: uint64(dir.Number), Off: afterDot}, {Name: "..", Ino: uint64(parent), Off: afterDotDot}}
	for at := in.Offset; at < afterDotDot; at++ {
		dots[at].Mode = unix.S_IFDIR
		if !add(dots[at], 0) {
			return fuse.OK
		}
	}
	l, err := f.image.List(&dir, squashfs.Place(max(in.Offset, afterDotDot)-afterDotDot))
	if err != nil {
		return status(err)
	}
	for {
		e, err := l.Next()
		if squashfs.End(err) {
			return fuse.OK
		}
		if err != nil {
			return status(err)
		}
		if !add(fuse.DirEntry{Name: string(e.Name), Ino: uint64(e.Number), Mode: types[e.Type], Off: uint64(e.Next) + afterDotDot}, e.Ref) {
			return fuse.OK
		}
	}
}

// StatFs returns the size of the image, with no free space.
func (f *fileSystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	block := uint64(f.image.BlockSize())
	*out = fuse.StatfsOut{
		Blocks: (uint64(f.image.Size()) + block - 1) / block, Files: uint64(f.image.Inodes()),
		Bsize: uint32(block), Frsize: uint32(block), NameLen: 255,
	}
	return fuse.OK
}
