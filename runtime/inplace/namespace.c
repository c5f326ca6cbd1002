#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "namespace.h"

static int write_file(const char *path, const char *text)
{
	const size_t length = strlen(text);
	const int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, length) != (ssize_t)length || close(fd) < 0 ? -1 : 0;
}

static int map_one(const char *path, unsigned int inside, unsigned int id)
{
	char line[64];

	snprintf(line, sizeof(line), "%u %u 1\n", inside, id);
	return write_file(path, line);
}

// The caller's uid and gid keep their numbers, or become root's. Groups cannot be set there, and so do
// not change.
const char *ocishim_new_user_namespace(int root)
{
	const uid_t uid = geteuid();
	const gid_t gid = getegid();

	if (unshare(CLONE_NEWUSER) < 0)
		return "make a user namespace";
	if (write_file("/proc/self/setgroups", "deny") < 0)
		return "/proc/self/setgroups";
	if (map_one("/proc/self/uid_map", root ? 0 : uid, uid) < 0)
		return "/proc/self/uid_map";
	if (map_one("/proc/self/gid_map", root ? 0 : gid, gid) < 0)
		return "/proc/self/gid_map";
	return NULL;
}
