// Starts the server of an image's files: a program that has nothing to do with the task that
// starts it, neither as its child nor by its processors, and that may mount in a user namespace.
//
// The order comes in the environment, from our own process a moment before:
//
//	_OCISHIM_SERVE=SOCKET:PROGRAM
//
// SOCKET is a descriptor, for the reason why the server cannot be started. PROGRAM is the path of
// the server, which gets the arguments of this process and an empty environment.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "namespace.h"

static int launcher = -1;

static void tell(const char *what)
{
	dprintf(launcher, "%s: %s", what, strerror(errno));
	_exit(1);
}

// work_for_all frees the process from the processors of the task, and from its exact timers. The
// step's cgroup bounds the processors. Where that is refused, the server is only slower.
static void work_for_all(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	prctl(PR_SET_TIMERSLACK, 1000 * 1000, 0, 0, 0);
}

// keep_admin keeps CAP_SYS_ADMIN, which the kernel gives in a new user namespace, across execve.
static void keep_admin(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[2] = {{0}};
	const unsigned int admin = 1U << CAP_SYS_ADMIN;

	sets[0].effective = sets[0].permitted = sets[0].inheritable = admin;
	if (syscall(SYS_capset, &header, sets) < 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) < 0)
		tell("keep the right to mount");
}

__attribute__((constructor)) static void start_server(int argc, char **argv)
{
	const char *order = getenv("_OCISHIM_SERVE"), *program, *failed;
	char *const none[] = {NULL};
	int end = 0;

	(void)argc;
	if (order == NULL)
		return;
	if (sscanf(order, "%d:%n", &launcher, &end) != 1 || end == 0)
		_exit(1);
	program = order + end;
	switch (fork()) {
	case -1:
		tell("fork");
		break;
	case 0:
		break;
	default:
		_exit(0); // the task waits for this process, and has no other child
	}
	setsid();
	work_for_all();
	failed = ocishim_new_user_namespace(0);
	if (failed != NULL)
		tell(failed);
	keep_admin();
	execve(program, argv, none);
	tell(program);
}
