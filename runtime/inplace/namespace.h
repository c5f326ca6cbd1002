#pragma once

// ocishim_new_user_namespace moves this process, which must have a single thread, into a user
// namespace that has only the caller's own ids. It returns NULL, or what it failed at, with errno.
const char *ocishim_new_user_namespace(void);
