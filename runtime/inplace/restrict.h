#pragma once
#include <linux/capability.h>

extern int ocishim_tasks;

// ocishim_restrict_others limits all threads of this process except the calling one to the
// capabilities in the sets, two halves of 32 bits each, and sets no_new_privs if privileges is not
// 0. It returns -1, with errno, if one of them may have kept more. It does nothing if the caller of
// this program blocks all signals that it could use.
int ocishim_restrict_others(const struct __user_cap_data_struct *sets, int privileges);
