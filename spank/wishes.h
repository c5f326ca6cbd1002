/*
 * What a user asks for with pyxis's options and variables, as text. Nothing here knows SPANK.
 */
#ifndef OCISHIM_SPANK_WISHES_H
#define OCISHIM_SPANK_WISHES_H

#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

enum wish {
	IMAGE,
	NAME,
	MOUNTS,
	WORKDIR,
	SAVE,
	HOME,
	ROOT,
	ENTRYPOINT,
	ENTRYPOINT_LOG,
	WRITABLE,
	ENV,
	UNSHARE,
	WISHES /* how many there are */
};

/* VARIABLE_MAX is how long the value of a variable may be. */
enum { VARIABLE_MAX = 64 * 1024 };

/* A reason is room for one line that says what is wrong. */
typedef char reason[512];

/*
 * given are the values, each allocated or NULL. A switch is "true" or "false". By says who wrote
 * it, for messages: an option with its dashes, or a variable.
 */
struct given {
	char *value[WISHES];
	const char *by[WISHES];
};

/* wish_key returns the key by which `ocishim run-image --pyxis` knows the wish; NULL for none. */
const char *wish_key(enum wish w);

/*
 * wish_give checks a value and keeps a copy. It returns false, and says why, if the value is
 * invalid, or another one was given before.
 */
bool wish_give(struct given *g, enum wish w, const char *value, const char *by, reason why);

/*
 * wish_variables fills what is still open from variables. get copies a variable into a buffer of
 * VARIABLE_MAX bytes; it returns 0, 1 if there is none, and -1 if it is too long. Words that are not
 * booleans are ignored where one is expected, as pyxis does.
 */
bool wish_variables(struct given *g, int (*get)(void *of, const char *name, char *value), void *of, reason why);

/* wish_container reports whether a container is asked for. */
bool wish_container(const struct given *g);

/* wish_possible reports whether ocishim has what is asked for, and why not. */
bool wish_possible(const struct given *g, reason why);

/* wish_others writes who asked for something without a container; empty if nobody did. */
void wish_others(const struct given *g, reason list);

/*
 * wish_reference returns the image as ocishim names it, allocated: a path, or docker://... for
 * everything without a scheme.
 */
char *wish_reference(const char *image);

void wish_free(struct given *g);

/* word_of_truth returns 1, 0, or -1 for what is not a boolean. */
int word_of_truth(const char *word);

#pragma GCC visibility pop

#endif
