// Takes capabilities from all threads except the one that becomes the application. The kernel keeps
// capabilities for each thread, and Go has several threads in one memory: as long as one of them
// has more, so has anybody who gets hold of another.
//
// A thread can change only its own capabilities. So each of them gets a signal, and changes them in
// the handler, as glibc does for setuid(2).
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "restrict.h"

// /proc/self/task, opened while the host's /proc is still there: see enter.c.
int ocishim_tasks = -1;

enum {
	MAX_THREADS = 1024,
	PATIENCE = 100 * 1000, // looks at whether a thread has answered: 10 s and more
	PAUSE = 100 * 1000,    // nanoseconds between two of them, past the first few
};

// Signals that by default neither end nor stop a process, and that do not queue
// (RLIMIT_SIGPENDING).
static const int signals[] = {SIGWINCH, SIGURG, SIGIO, SIGVTALRM};

static struct __user_cap_data_struct allowed[2];
static int no_new_privs;
static int caller; // is the calling thread, which is left alone
static atomic_int answered, failures;

static void restrict_self(int signal)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	const int saved = errno, self = gettid();

	(void)signal;
	if (self == caller)
		return;
	if (no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		atomic_fetch_add(&failures, 1);
	if (syscall(SYS_capset, &header, allowed) < 0)
		atomic_fetch_add(&failures, 1);
	atomic_store(&answered, self);
	errno = saved;
}

// free_signal returns a signal that neither this thread nor, therefore, any thread of Go's
// blocks; 0 if there is none. The program's caller decides which signals are blocked.
static int free_signal(void)
{
	sigset_t blocked;

	if (sigprocmask(SIG_SETMASK, NULL, &blocked) < 0)
		return 0;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (!sigismember(&blocked, signals[i]))
			return signals[i];
	return 0;
}

static int lives(int thread)
{
	return syscall(SYS_tgkill, getpid(), thread, 0) == 0;
}

// ask sends the signal and waits until the thread has answered, or has ended.
static int ask(int thread, int signal)
{
	const struct timespec pause = {0, PAUSE};

	if (syscall(SYS_tgkill, getpid(), thread, signal) < 0)
		return errno == ESRCH ? 0 : -1;
	for (int i = 0; atomic_load(&answered) != thread; i++) {
		if (!lives(thread))
			return 0;
		if (i >= PATIENCE) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (i > 2)
			nanosleep(&pause, NULL);
		else
			sched_yield();
	}
	return 0;
}

static int seen_before(const int *seen, int count, int thread)
{
	for (int i = 0; i < count; i++)
		if (seen[i] == thread)
			return 1;
	return 0;
}

// ask_new asks the threads that have not been seen yet. It returns their number, or -1 if one of
// them could not be asked.
static int ask_new(int signal, int *seen, int *count)
{
	const int fd = openat(ocishim_tasks, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int asked = 0;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while (asked >= 0 && (entry = readdir(dir)) != NULL) {
		const int thread = atoi(entry->d_name);

		if (thread <= 0 || thread == gettid() || seen_before(seen, *count, thread))
			continue;
		if (*count == MAX_THREADS || ask(thread, signal) < 0) {
			asked = -1;
			break;
		}
		seen[(*count)++] = thread;
		asked++;
	}
	closedir(dir);
	return asked;
}

// A new thread has the capabilities of the thread that made it, so the search repeats until there
// is no new one.
int ocishim_restrict_others(const struct __user_cap_data_struct *sets, int privileges)
{
	static int seen[MAX_THREADS];
	struct sigaction action = {.sa_handler = restrict_self, .sa_flags = SA_ONSTACK | SA_RESTART}, old;
	const int signal = free_signal();
	int count = 0, asked;

	if (signal == 0)
		return 0; // nobody else can look into this process (PR_SET_DUMPABLE), all the same
	caller = gettid();
	memcpy(allowed, sets, sizeof(allowed));
	no_new_privs = privileges;
	sigfillset(&action.sa_mask);
	if (sigaction(signal, &action, &old) < 0)
		return -1;
	do
		asked = ask_new(signal, seen, &count);
	while (asked > 0);
	sigaction(signal, &old, NULL);
	if (asked == 0 && atomic_load(&failures) > 0) {
		errno = EPERM;
		return -1;
	}
	return asked;
}
