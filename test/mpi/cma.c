/*
 * Cross-memory attach without MPI: each task of a step reads the memory of the next
 * one on its host by process_vm_readv, as MPI does for large messages, and checks it.
 *
 *	cma DIR    a directory that the tasks on the host share, writable for all of them
 *
 * Prints a line per task: `task R read task P in user:[N]`, where the last is the user
 * namespace of the task.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 1 << 20, WORDS = SIZE / sizeof(uint32_t), PATIENCE = 30 /* seconds */ };

static uint32_t mine[WORDS], theirs[WORDS];

static _Noreturn void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("cma: error: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);
	if (!value)
		fail("%s is not set: run it by srun", name);
	return value;
}

/* path returns the file for a message of a task: its address, or that it is done. */
static void path(char *to, size_t size, const char *dir, const char *what, int task)
{
	snprintf(to, size, "%s/cma-%s.%s-%s-%d", dir, variable("SLURM_JOB_ID"), variable("SLURM_STEP_ID"), what, task);
}

/* say writes the file at once, by rename. */
static void say(const char *dir, const char *what, int task)
{
	char name[512], part[520];

	path(name, sizeof(name), dir, what, task);
	snprintf(part, sizeof(part), "%s.part", name);
	FILE *f = fopen(part, "w");
	if (!f || fprintf(f, "%d %p\n", getpid(), (void *)mine) < 0 || fclose(f) || rename(part, name))
		fail("write %s: %s", name, strerror(errno));
}

/* hear waits for the task's message. */
static void hear(const char *dir, const char *what, int task, int *pid, void **address)
{
	char name[512];
	FILE *f;

	path(name, sizeof(name), dir, what, task);
	for (int i = 0; !(f = fopen(name, "r")); i++) {
		if (i == PATIENCE * 100)
			fail("no word from task %d in %s after %d s", task, dir, PATIENCE);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	if (fscanf(f, "%d %p", pid, address) != 2)
		fail("read %s: not as it was written", name);
	fclose(f);
}

static void read_memory(int pid, void *address, int task)
{
	struct iovec to = {theirs, SIZE}, from = {address, SIZE};
	ssize_t n = process_vm_readv(pid, &to, 1, &from, 1, 0);

	if (n < 0)
		fail("process_vm_readv of task %d, process %d: %s", task, pid, strerror(errno));
	if (n != SIZE)
		fail("process_vm_readv of task %d: %zd bytes of %d", task, n, SIZE);
	for (uint32_t i = 0; i < WORDS; i++)
		if (theirs[i] != i * 2654435761u + task)
			fail("wrong data in the memory of task %d, word %u", task, i);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		fail("usage: cma DIR");
	int task = atoi(variable("SLURM_PROCID")), tasks = atoi(variable("SLURM_STEP_NUM_TASKS"));
	int next = (task + 1) % tasks, last = (task + tasks - 1) % tasks, pid;
	char user[64], name[512];
	void *address;

	for (uint32_t i = 0; i < WORDS; i++)
		mine[i] = i * 2654435761u + task;
	/* for Yama, which lets only ancestors attach, as in MPI libraries; EINVAL: no Yama */
	if (prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY) && errno != EINVAL)
		fail("prctl PR_SET_PTRACER: %s", strerror(errno));

	say(argv[1], "at", task);
	hear(argv[1], "at", next, &pid, &address);
	read_memory(pid, address, next);
	say(argv[1], "done", task);
	hear(argv[1], "done", last, &pid, &address); /* until then this memory is needed */

	/* only one task reads this task's message, and has done so */
	path(name, sizeof(name), argv[1], "at", task);
	unlink(name);
	path(name, sizeof(name), argv[1], "done", last);
	unlink(name);

	ssize_t n = readlink("/proc/self/ns/user", user, sizeof(user) - 1);
	if (n < 0)
		fail("readlink /proc/self/ns/user: %s", strerror(errno));
	user[n] = 0;
	printf("task %d read task %d in %s\n", task, next, user);
	return 0;
}
