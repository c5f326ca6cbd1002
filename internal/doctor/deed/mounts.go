package deed

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// place is where deeds mount: every host has it, and their mount namespace is their own.
const place = "/tmp"

// mountHere keeps mounts to this namespace, and mounts over place.
func mountHere(source, kind, data string) error {
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("leave the host's mounts: %w", err)
	}
	if err := unix.Mount(source, place, kind, unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return fmt.Errorf("mount %s: %w", kind, err)
	}
	return nil
}

// mountFUSE mounts a file system that nobody serves; it goes with this process.
func mountFUSE() error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/fuse: %w", err)
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", fd, os.Geteuid(), os.Getegid())
	return mountHere("ocishim-doctor", "fuse", data)
}

// changeOverlay does what breaks where the kernel is too old: deleting and making a directory again
// needs extended attributes of users in memory.
func changeOverlay() error {
	if err := mountHere("tmpfs", "tmpfs", "mode=700"); err != nil {
		return err
	}
	for _, dir := range []string{"lower/d", "upper", "work", "root"} {
		if err := os.MkdirAll(place+"/"+dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(place+"/lower/d/file", nil, 0o600); err != nil {
		return err
	}
	const data = "userxattr,lowerdir=" + place + "/lower,upperdir=" + place + "/upper,workdir=" + place + "/work"
	if err := unix.Mount("overlay", place+"/root", "overlay", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	if err := os.RemoveAll(place + "/root/d"); err != nil {
		return fmt.Errorf("delete a directory in an overlay: %w", err)
	}
	if err := os.Mkdir(place+"/root/d", 0o700); err != nil {
		return fmt.Errorf("make a directory again in an overlay: %w", err)
	}
	if _, err := os.Stat(place + "/root/d/file"); err == nil {
		return errors.New("a file that was deleted in an overlay is back")
	}
	return nil
}

// atoi reads a number that another deed has written.
func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
