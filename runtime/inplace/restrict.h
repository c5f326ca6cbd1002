#pragma once
#include <linux/capability.h>

extern int ocishim_tasks;

// ocishim_restrict_others leaves the threads of this process beside the calling one the
// capabilities of the sets, two halves of 32 bits each, and no_new_privs where privileges
// is not 0. It returns -1, with errno, where one of them may have kept more; where the
// caller of this program blocks all signals that it could use, it does nothing.
int ocishim_restrict_others(const struct __user_cap_data_struct *sets, int privileges);
