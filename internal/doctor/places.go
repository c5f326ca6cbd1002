package doctor

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/stateroot"
)

func placeChecks() []Check {
	return []Check{
		{"state", "where the state of a user's containers lies", statePlaces},
		{"tmp", "/tmp, which containers share", sharedTmp},
		{"shm", "/dev/shm, by which ranks talk", sharedMemory},
		{"home", "the user, and their home", userHome},
	}
}

func statePlaces(p *Patient) []Finding {
	info, err := p.stat(stateroot.Shared)
	switch {
	case err != nil:
		return found(Warn, stateroot.Shared+" is missing: state goes to /run/user/UID, which ends with the user's last session, or to /tmp",
			"copy oci.conf.d/tmpfiles.d/ocishim.conf to /etc/tmpfiles.d, and run systemd-tmpfiles --create")
	case info.Uid != 0:
		return found(Fail, fmt.Sprintf("%s belongs to uid %d, who can remove the state of others", stateroot.Shared, info.Uid),
			"chown root "+stateroot.Shared+" && chmod 1777 "+stateroot.Shared)
	case info.Mode&0o7777 != 0o1777:
		return found(Warn, fmt.Sprintf("%s has mode %o: users cannot make their state in it, which goes to /run/user/UID or to /tmp", stateroot.Shared, info.Mode&0o7777),
			"copy oci.conf.d/tmpfiles.d/ocishim.conf to /etc/tmpfiles.d, and run systemd-tmpfiles --create")
	}
	if err := p.Do("state"); err != nil {
		return found(Fail, "no place for the state of "+p.User+": "+err.Error(), "make one of the places writable for the user; docs/security.md lists what is refused")
	}
	return ok("state lies in " + stateroot.Shared)
}

// sharedTmp finds a /tmp of the job's own, in which Slurm's cleanup does not find state.
func sharedTmp(p *Patient) []Finding {
	info, err := p.stat("/tmp")
	if err != nil {
		return found(Fail, "/tmp: "+err.Error(), "mkdir -m 1777 /tmp")
	}
	if info.Mode&0o1777 != 0o1777 {
		return found(Fail, fmt.Sprintf("/tmp has mode %o", info.Mode&0o7777), "chmod 1777 /tmp")
	}
	return ok("/tmp has mode 1777")
}

func sharedMemory(p *Patient) []Finding {
	const path = "/dev/shm"
	info, err := p.stat(path)
	if err != nil {
		return found(Fail, path+": "+err.Error(), "mount -t tmpfs -o mode=1777,nosuid,nodev shm "+path)
	}
	if info.Mode&0o1777 != 0o1777 {
		return found(Fail, fmt.Sprintf("%s has mode %o", path, info.Mode&0o7777), "chmod 1777 "+path)
	}
	var system unix.Statfs_t
	var memory unix.Sysinfo_t
	if unix.Statfs(p.Host.HostPath(path), &system) == nil && unix.Sysinfo(&memory) == nil {
		size, all := system.Blocks*uint64(system.Bsize), memory.Totalram*uint64(memory.Unit)
		if size < all/8 {
			return found(Warn, fmt.Sprintf("%s has %d MiB, and the host %d MiB of memory: MPI and data loaders may fail with SIGBUS", path, size>>20, all>>20),
				"mount -o remount,size=50% "+path)
		}
	}
	return ok("/dev/shm is there")
}

func userHome(p *Patient) []Finding {
	if p.User == "" {
		return found(Fail, fmt.Sprintf("this host does not know uid %d by name", p.UID), "getent passwd must know all users of Slurm: sssd or nslcd on this host")
	}
	home := p.getenv("HOME")
	if home == "" {
		return skip("HOME is not set")
	}
	if err := p.Do("home", home); err != nil {
		return found(Warn, "home "+home+" of "+p.User+": "+err.Error(), "mount it on this host; containers start without it, and stores of images in it are out of reach")
	}
	if m := p.mountOf(home); strings.Contains(","+m.options+",", ",noexec,") {
		return found(Warn, "home "+home+" is on a file system that is noexec: images in the user's store there cannot run", "set image.store to another place, or mount it exec")
	}
	return ok("uid " + fmt.Sprint(p.UID) + " is " + p.User + ", and " + filepath.Clean(home) + " is there")
}

// stat looks at a path of the host, without following links in it.
func (p *Patient) stat(path string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Lstat(p.Host.HostPath(path), &st)
	if errors.Is(err, unix.ENOENT) {
		err = errors.New("it does not exist")
	}
	return st, err
}

func (p *Patient) getenv(name string) string {
	for _, entry := range p.Env {
		if value, same := strings.CutPrefix(entry, name+"="); same {
			return value
		}
	}
	return ""
}
