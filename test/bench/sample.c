//go:build ignore

/*
 * sample COPIES COMMAND ARGUMENT... [, COMMAND ARGUMENT...]...
 *
 * runs the commands one after the other, in COPIES copies at the same time, and
 * prints what that took. "wait" instead of a command waits for what earlier
 * commands left behind, as an engine waits for a container's end before it
 * deletes the container. "@" in an argument becomes the number of the copy.
 *
 * Every process is counted once, whatever started it: this program is a
 * subreaper, and adopts what is left behind. It prints one line,
 *
 *     WALL USER SYSTEM MAXRSS
 *
 * in microseconds, and kilobytes of the largest process. Commands have no
 * standard output. The exit status is 1 when a command failed.
 *
 * It is written in C to be small: a process never counts less than its parent had.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long microseconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static char *numbered(char *arg, int copy)
{
	char *at = strchr(arg, '@'), *out;
	if (!at)
		return arg;
	if (asprintf(&out, "%.*s%d%s", (int)(at - arg), arg, copy, at + 1) < 0)
		err(1, "asprintf");
	return out;
}

/* collect waits for a child, or with -1 for all children. */
static int collect(pid_t pid)
{
	int status, failed = 0;
	pid_t got;
	while ((got = waitpid(pid, &status, 0)) > 0 || errno == EINTR) {
		if (got > 0 && status != 0)
			failed = 1;
		if (got == pid)
			break;
	}
	return failed;
}

static int run(char **argv)
{
	pid_t pid;
	if (!strcmp(argv[0], "wait"))
		return collect(-1);
	pid = vfork();
	if (pid < 0)
		err(1, "vfork");
	if (pid == 0) {
		execv(argv[0], argv);
		warn("%s", argv[0]);
		_exit(127);
	}
	return collect(pid);
}

/* run_all runs the commands; copy is the number of this copy. */
static int run_all(char **args, int copy)
{
	char *argv[256];
	int n = 0, failed = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (; ; args++) {
		if (*args && strcmp(*args, ",")) {
			if (n == 255)
				errx(2, "too many arguments");
			argv[n++] = numbered(*args, copy);
			continue;
		}
		argv[n] = NULL;
		if (n)
			failed |= run(argv);
		n = 0;
		if (!*args)
			return failed | collect(-1);
	}
}

int main(int argc, char **argv)
{
	struct rusage used;
	long long begin;
	int copies = argc > 2 ? atoi(argv[1]) : 0, failed = 0, i;
	FILE *report = fdopen(fcntl(1, F_DUPFD_CLOEXEC, 3), "w");
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (copies < 1)
		errx(2, "usage: sample COPIES COMMAND ARGUMENT... [, COMMAND ARGUMENT...]...");
	if (!report || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		err(1, "prepare files");
	begin = microseconds();
	if (copies == 1)
		failed = run_all(argv + 2, 0);
	for (i = 0; copies > 1 && i < copies; i++) {
		pid_t pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (pid == 0)
			_exit(run_all(argv + 2, i));
	}
	failed |= collect(-1);
	begin = microseconds() - begin;
	getrusage(RUSAGE_CHILDREN, &used);
	fprintf(report, "%lld %lld %lld %ld\n", begin,
		used.ru_utime.tv_sec * 1000000LL + used.ru_utime.tv_usec,
		used.ru_stime.tv_sec * 1000000LL + used.ru_stime.tv_usec, used.ru_maxrss);
	fclose(report);
	return failed;
}
