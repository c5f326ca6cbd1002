// Reports errors that end Go's runtime itself like every other error: in one line, and with the
// status of a failed launch, instead of a page of stacks and status 2.

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	LAUNCH_FAILED = 125,	// runtime.ExitLaunchFailed
	GO_RESERVES = 768 << 20, // bytes of addresses, of which it uses few
	GO_MAPS = 144 << 20,	 // bytes that it may write to: its first heap, 64 MiB, and the stacks of its threads
	FEW_FILES = 4,		 // that Go opens for itself
};

__attribute__((noreturn)) static void end(const char *what, const char *hint)
{
	dprintf(STDERR_FILENO, "ocishim: error: %s\nocishim: hint: %s\n", what, hint);
	_exit(LAUNCH_FAILED);
}

// Replaces the C library's abort (--wrap of ld): runtime/cgo calls it if no thread can be made,
// after a message. Go's handler of SIGABRT would print all stacks.
void __wrap_abort(void)
{
	end("Go's runtime could not run this process, see above",
	    "a limit may be reached: of processes (ulimit -u, pids.max of the cgroup), of addresses (ulimit -v) or of memory");
}

// fits tries whether so much address space is available.
static int fits(size_t length, int protection)
{
	void *trial = mmap(NULL, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (trial == MAP_FAILED)
		return 0;
	munmap(trial, length);
	return 1;
}

// Go ends if it cannot reserve address space, map its first heap, or open its own few files.
__attribute__((constructor)) static void look_at_limits(void)
{
	struct rlimit addresses, data, files;
	const int next = dup(STDERR_FILENO);

	close(next);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && (next < 0 || next + FEW_FILES > (long)files.rlim_cur))
		end("the limit of open files is too low", "raise it: ulimit -n; under Slurm see PropagateResourceLimits");
	if (getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY && !fits(GO_RESERVES, PROT_NONE))
		end("the limit of addresses is too low for Go's runtime, which reserves 768 MiB",
		    "raise or drop it: ulimit -v, RLIMIT_AS; under Slurm see PropagateResourceLimits");
	if (getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY && !fits(GO_MAPS, PROT_READ | PROT_WRITE))
		end("the limit of data is too low for Go's runtime, which maps 144 MiB",
		    "raise or drop it: ulimit -d, RLIMIT_DATA; under Slurm see PropagateResourceLimits");
}
