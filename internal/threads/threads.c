// Sets what the threads that Go makes should have, and the first one should not. By the time Go's
// own code runs, these threads exist.

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HOUSEKEEPING_SLACK = 1000 * 1000 }; // nanoseconds

// ocishim_timer_slack is the slack that this process was started with, in nanoseconds.
long ocishim_timer_slack;

__attribute__((constructor)) static void spare(void)
{
	mallopt(M_ARENA_MAX, 1);
	// prctl(3) would return it as an int.
	ocishim_timer_slack = syscall(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0);
	if (ocishim_timer_slack > 0 && ocishim_timer_slack < HOUSEKEEPING_SLACK)
		prctl(PR_SET_TIMERSLACK, HOUSEKEEPING_SLACK, 0, 0, 0);
}
