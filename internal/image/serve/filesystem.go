package serve

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/squashfs"
)

// A fileSystem answers the kernel's requests. Since an image does not change, the kernel is told to
// cache everything, even that a name does not exist, and not to ask when files and directories
// are opened and closed.
type fileSystem struct {
	fuse.RawFileSystem // answers ENOSYS to other requests: the kernel then stops sending them
	image              *squashfs.Image
	uid, gid           uint32
	opendir            bool // the kernel needs an answer when a directory is opened
}

// forever is how long the kernel may cache answers, in seconds.
const forever = 1 << 30

func newFileSystem(im *squashfs.Image, uid, gid uint32) *fileSystem {
	return &fileSystem{RawFileSystem: fuse.NewDefaultRawFileSystem(), image: im, uid: uid, gid: gid}
}

// String returns the name for messages of the kernel and the library.
func (f *fileSystem) String() string { return "squashfs" }

// Init checks what the kernel supports: before Linux 5.1, ENOSYS for opendir is an error.
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

// status returns the error that the reading process gets: EIO if the image is corrupt, or the
// kernel's own error if the image's file cannot be read.
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

// types maps squashfs's types of files to the kernel's.
var types = [...]uint32{
	squashfs.Directory: unix.S_IFDIR, squashfs.File: unix.S_IFREG, squashfs.Symlink: unix.S_IFLNK, squashfs.BlockDevice: unix.S_IFBLK,
	squashfs.CharDevice: unix.S_IFCHR, squashfs.Fifo: unix.S_IFIFO, squashfs.Socket: unix.S_IFSOCK,
}

// attributes fills in the attributes of an inode, as in an unpacked tree: everything belongs to one
// user, who may read everything, and there are no setuid and setgid bits.
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
		return squashfs.ErrCorrupt // a directory contains the root
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

// Forget does nothing: the server keeps nothing per inode.
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

// Readlink returns the target of a symbolic link, which the kernel caches.
func (f *fileSystem) Readlink(_ <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	i, err := f.inode(header.NodeId)
	if err != nil {
		return nil, status(err)
	}
	target, err := f.image.Target(&i)
	return target, status(err)
}

// Open makes the kernel open files by itself, and keep its cache of their content.
func (f *fileSystem) Open(_ <-chan struct{}, _ *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	return fuse.ENOSYS
}

// OpenDir does the same as Open for directories, if the kernel supports that.
func (f *fileSystem) OpenDir(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if !f.opendir {
		return fuse.ENOSYS
	}
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
	return fuse.OK
}

// Flush makes the kernel close files without asking.
func (f *fileSystem) Flush(_ <-chan struct{}, _ *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Read returns content from the image's caches, without copying it.
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

// Offsets in a directory begin with "." and "..", which are not stored in the image.
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

// list calls add for each member from an offset on, until the answer is full.
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
