// What the threads that Go makes are to have, and the first one is not: by the time
// that Go's own code can say so they are there.

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HOUSEKEEPING_SLACK = 1000 * 1000 }; // nanoseconds

// ocishim_timer_slack is what this process was started with, in nanoseconds.
long ocishim_timer_slack;

__attribute__((constructor)) static void spare(void)
{
	mallopt(M_ARENA_MAX, 1);
	// Not by prctl(3), whose result is an int.
	ocishim_timer_slack = syscall(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
	if (ocishim_timer_slack > 0 && ocishim_timer_slack < HOUSEKEEPING_SLACK)
		prctl(PR_SET_TIMERSLACK, HOUSEKEEPING_SLACK, 0, 0, 0);
}
