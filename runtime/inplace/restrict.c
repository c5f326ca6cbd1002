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
static int threads[MAX_THREADS]; // all that were asked
static atomic_int count, answered[MAX_THREADS], failures;

static int place_of(int thread)
{
	const int n = atomic_load(&count);

	for (int i = 0; i < n; i++)
		if (threads[i] == thread)
			return i;
	return -1;
}

static void restrict_self(int signal)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	const int saved = errno, place = place_of(gettid());

	(void)signal;
	if (place < 0) // such as the calling thread, which is left alone
		return;
	if (no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		atomic_fetch_add(&failures, 1);
	if (syscall(SYS_capset, &header, allowed) < 0)
		atomic_fetch_add(&failures, 1);
	atomic_store(&answered[place], 1);
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

// ask sends the signal to a thread that has not been asked yet.
static int ask(int thread, int signal)
{
	const int place = atomic_load(&count);

	if (place == MAX_THREADS)
		return -1;
	threads[place] = thread;
	atomic_store(&count, place + 1);
	if (syscall(SYS_tgkill, getpid(), thread, signal) == 0)
		return 0;
	atomic_store(&answered[place], 1); // or it has ended
	return errno == ESRCH ? 0 : -1;
}

// await waits until the thread at this place has answered, or has ended.
static int await(int place)
{
	const struct timespec pause = {0, PAUSE};

	for (int i = 0; !atomic_load(&answered[place]); i++) {
		if (!lives(threads[place]))
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

// ask_new asks the threads that have not been asked yet, all at once, and waits for their answers.
// It returns their number, or -1 if one of them could not be asked.
static int ask_new(int signal)
{
	const int fd = openat(ocishim_tasks, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const int before = atomic_load(&count);
	struct dirent *entry;
	int failed = 0;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while (!failed && (entry = readdir(dir)) != NULL) {
		const int thread = atoi(entry->d_name);

		if (thread > 0 && thread != gettid() && place_of(thread) < 0)
			failed = ask(thread, signal) < 0;
	}
	closedir(dir);
	for (int i = before; !failed && i < atomic_load(&count); i++)
		failed = await(i) < 0;
	return failed ? -1 : atomic_load(&count) - before;
}

// A new thread has the capabilities of the thread that made it, so the search repeats until there
// is no new one.
int ocishim_restrict_others(const struct __user_cap_data_struct *sets, int privileges)
{
	struct sigaction action = {.sa_handler = restrict_self, .sa_flags = SA_ONSTACK | SA_RESTART}, old;
	const int signal = free_signal();
	int asked;

	if (signal == 0)
		return 0; // nobody else can look into this process (PR_SET_DUMPABLE), all the same
	memcpy(allowed, sets, sizeof(allowed));
	no_new_privs = privileges;
	sigfillset(&action.sa_mask);
	if (sigaction(signal, &action, &old) < 0)
		return -1;
	do
		asked = ask_new(signal);
	while (asked > 0);
	sigaction(signal, &old, NULL);
	if (asked == 0 && atomic_load(&failures) > 0) {
		errno = EPERM;
		return -1;
	}
	return asked;
}
