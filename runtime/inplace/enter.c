// What only a process with a single thread can do, before Go starts other threads: enter a user
// namespace and a mount namespace of its own (user_namespaces(7)).
//
// The order comes in the environment, from our own process a moment before:
//
//	_OCISHIM_ENTER=TASK:USERNS:LOCK:MNTNS:ROOT
//
// The first four are descriptors. TASK is for Go. USERNS is the user namespace to join, or -1 to make
// one that has only the caller's own ids. LOCK keeps other tasks of the same Slurm step from making
// one. A process that joined releases it here; one that made the namespace must record that first,
// and does so in Go. MNTNS is the mount namespace to join, with its root, or -1 to make one. ROOT is 1
// if the caller is root in a user namespace that is made, otherwise 0.
//
// Every descriptor and number is ours; nothing of a container exists yet.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "namespace.h"
#include "restrict.h"

enum { LAUNCH_FAILED = 125 }; // runtime.ExitLaunchFailed

static void fail(const char *what)
{
	const int error = errno;

	dprintf(STDERR_FILENO, "ocishim: error: launch in place: %s: %s\n", what, strerror(error));
	if (error == EPERM || error == EACCES || error == ENOSPC || error == EUSERS)
		dprintf(STDERR_FILENO, "ocishim: hint: users of this host may not make user namespaces; see "
				       "user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns (sysctl)\n");
	_exit(LAUNCH_FAILED);
}

__attribute__((constructor)) static void enter(void)
{
	const char *order = getenv("_OCISHIM_ENTER");
	int task, userns, lock, mntns, root;
	char end;

	if (order == NULL)
		return;
	if (sscanf(order, "%d:%d:%d:%d:%d%c", &task, &userns, &lock, &mntns, &root, &end) != 5) {
		errno = EINVAL;
		fail("read _OCISHIM_ENTER");
	}
	// The container's /proc may be the image's, or missing.
	ocishim_tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ocishim_tasks < 0)
		fail("open /proc/self/task");
	if (userns >= 0) {
		if (setns(userns, CLONE_NEWUSER) < 0)
			fail("join the user namespace");
		close(userns);
		if (lock >= 0)
			close(lock);
	} else {
		const char *failed = ocishim_new_user_namespace(root);

		if (failed != NULL)
			fail(failed);
	}
	if (mntns >= 0) {
		if (setns(mntns, CLONE_NEWNS) < 0)
			fail("join the mount namespace of the container");
		close(mntns);
	} else if (unshare(CLONE_NEWNS) < 0) {
		fail("make a mount namespace");
	}
}
