#pragma once

// ocishim_new_user_namespace moves this process, which must have a single thread, into a user
// namespace that has only the caller's own ids, under their numbers or, with root, as uid 0 and gid 0.
// It returns NULL, or what it failed at, with errno.
const char *ocishim_new_user_namespace(int root);
