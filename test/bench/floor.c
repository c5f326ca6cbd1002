//go:build ignore

/*
 * floor ROOTFS COMMAND ARGUMENT... runs a command in a root filesystem with only
 * the system calls that this takes: a user and a mount namespace, the caller's
 * own ids, the host's kernel file systems. No runtime that does the same can be
 * faster; its distance from floor is its own cost.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err(1, "write %s", file);
	close(fd);
}

static void bind(const char *from, const char *to)
{
	if (mount(from, to, NULL, MS_BIND | MS_REC, NULL))
		err(1, "bind %s", from);
}

int main(int argc, char **argv)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (argc < 3)
		errx(2, "usage: floor ROOTFS COMMAND ARGUMENT...");
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		err(1, "unshare");
	put("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "%u %u 1\n", uid, uid);
	put("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "%u %u 1\n", gid, gid);
	put("/proc/self/gid_map", map);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		err(1, "make mounts private");
	bind(argv[1], argv[1]);
	if (chdir(argv[1]))
		err(1, "chdir %s", argv[1]);
	bind("/proc", "proc");
	bind("/sys", "sys");
	bind("/dev", "dev");
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		err(1, "pivot_root");
	execvp(argv[2], argv + 2);
	err(127, "%s", argv[2]);
}
