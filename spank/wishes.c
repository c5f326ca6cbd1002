#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wishes.h"

static const char true_word[] = "true", false_word[] = "false";

/* complain writes the line, without control characters: values are the user's. */
__attribute__((format(printf, 2, 3))) static bool complain(reason why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, sizeof(reason), format, args);
	va_end(args);
	for (unsigned char *c = (unsigned char *)why; *c; c++)
		if (*c < ' ' || *c == 0x7f)
			*c = '?';
	return false;
}

/* A check reports whether a value is valid. It may write into the value, which is a copy. */
typedef bool check(char *value, const char *by, reason why);

static check check_mounts, check_save, check_variables, check_namespaces;

static const struct {
	const char *key, *variable;
	bool is_switch;
	check *check;
} rules[WISHES] = {
	[IMAGE] = {"image", "PYXIS_CONTAINER_IMAGE", false, NULL},
	[NAME] = {NULL, "PYXIS_CONTAINER_NAME", false, NULL},
	[MOUNTS] = {"mounts", "PYXIS_CONTAINER_MOUNTS", false, check_mounts},
	[WORKDIR] = {"workdir", "PYXIS_CONTAINER_WORKDIR", false, NULL},
	[SAVE] = {"save", "PYXIS_CONTAINER_SAVE", false, check_save},
	[HOME] = {"home", "PYXIS_CONTAINER_MOUNT_HOME", true, NULL},
	[ROOT] = {"remap_root", "PYXIS_CONTAINER_REMAP_ROOT", true, NULL},
	[ENTRYPOINT] = {"entrypoint", "PYXIS_CONTAINER_ENTRYPOINT", true, NULL},
	[ENTRYPOINT_LOG] = {NULL, "PYXIS_CONTAINER_ENTRYPOINT_LOG", true, NULL},
	[WRITABLE] = {"writable", "PYXIS_CONTAINER_WRITABLE", true, NULL},
	[ENV] = {"env", "PYXIS_CONTAINER_ENV", false, check_variables},
	[UNSHARE] = {"unshare", "PYXIS_CONTAINER_UNSHARE", false, check_namespaces},
};

const char *wish_key(enum wish w) { return rules[w].key; }

static bool check_save(char *value, const char *by, reason why)
{
	if (value[strlen(value) - 1] == '/')
		return complain(why, "%s %s: a directory: name the file to write", by, value);
	return true;
}

/* check_mounts looks at the form only: run-image knows flags, and what is there. */
static bool check_mounts(char *value, const char *by, reason why)
{
	for (char *mount; (mount = strsep(&value, ",")) != NULL;) {
		char *source = strsep(&mount, ":");
		char *target = strsep(&mount, ":");

		if (*source == '\0' || (target != NULL && *target == '\0'))
			return complain(why, "%s: a mount is SOURCE[:DESTINATION[:FLAG+FLAG]], and neither may be empty", by);
		if (strchr("./", *source) != NULL)
			continue;
		if (strcmp(source, "tmpfs") != 0 && strcmp(source, "umount") != 0)
			return complain(why, "%s %s: a source begins with / or ./, or is tmpfs or umount", by, source);
		if (target == NULL)
			return complain(why, "%s %s: it needs a destination, as in %s:/scratch", by, source, source);
	}
	return true;
}

static bool check_variables(char *value, const char *by, reason why)
{
	for (char *name; (name = strsep(&value, ",")) != NULL;) {
		if (*name == '\0')
			return complain(why, "%s: an empty name: write NAME,NAME", by);
		if (strchr(name, '=') != NULL)
			return complain(why, "%s %s: write only the name, and set the variable in the job", by, name);
	}
	return true;
}

static bool check_namespaces(char *value, const char *by, reason why)
{
	for (char *name; (name = strsep(&value, ",")) != NULL;)
		if (strcmp(name, "net") != 0 && strcmp(name, "ipc") != 0 && strcmp(name, "uts") != 0)
			return complain(why, "%s %s: unknown namespace: choose of net, ipc and uts", by, name);
	return true;
}

/* check_text is for all values: what no option takes. */
static bool check_text(const char *value, const char *by, reason why)
{
	if (*value == '\0')
		return complain(why, "%s: it needs a value", by);
	if (strlen(value) >= VARIABLE_MAX)
		return complain(why, "%s: longer than %d bytes", by, VARIABLE_MAX);
	for (const unsigned char *c = (const unsigned char *)value; *c; c++)
		if (*c < ' ' || *c == 0x7f)
			return complain(why, "%s: a control character in the value", by);
	return true;
}

bool wish_give(struct given *g, enum wish w, const char *value, const char *by, reason why)
{
	bool valid = check_text(value, by, why);
	char *copy;

	if (!valid)
		return false;
	if (g->value[w] != NULL && strcmp(g->value[w], value) != 0) {
		if (strcmp(g->by[w], by) == 0)
			return complain(why, "%s is given twice, with different values: give one%s", by,
					w == MOUNTS || w == ENV || w == UNSHARE ? ", a list with commas" : "");
		return complain(why, "%s and %s are both given: choose one", g->by[w], by);
	}
	if (rules[w].check != NULL) {
		copy = strdup(value);
		valid = copy != NULL ? rules[w].check(copy, by, why) : complain(why, "%s: no memory", by);
		free(copy);
	}
	if (!valid || g->value[w] != NULL)
		return valid;
	g->value[w] = strdup(value);
	g->by[w] = by;
	return g->value[w] != NULL || complain(why, "%s: no memory", by);
}

int word_of_truth(const char *word)
{
	static const char *const words[2][4] = {{"0", "false", "no", "n"}, {"1", "true", "yes", "y"}};

	for (int truth = 0; truth < 2; truth++)
		for (int i = 0; i < 4; i++)
			if (strcmp(word, words[truth][i]) == 0)
				return truth;
	return -1;
}

/* variable gives a wish what the variable says. The opposite of a switch may have its own name. */
static bool variable(struct given *g, enum wish w, const char *name, bool opposite,
		     int (*get)(void *, const char *, char *), void *of, char *value, reason why)
{
	int truth;

	switch (get(of, name, value)) {
	case 1:
		return true;
	case -1:
		return complain(why, "%s: longer than %d bytes", name, VARIABLE_MAX);
	}
	if (*value == '\0')
		return true;
	if (!rules[w].is_switch)
		return wish_give(g, w, value, name, why);
	truth = word_of_truth(value);
	if (truth == -1)
		return true;
	return wish_give(g, w, (truth == 1) != opposite ? true_word : false_word, name, why);
}

bool wish_variables(struct given *g, int (*get)(void *of, const char *name, char *value), void *of, reason why)
{
	char *value = malloc(VARIABLE_MAX);
	bool valid = value != NULL || complain(why, "no memory");

	for (enum wish w = 0; valid && w < WISHES; w++)
		if (g->value[w] == NULL)
			valid = variable(g, w, rules[w].variable, false, get, of, value, why);
	if (valid && g->value[WRITABLE] == NULL)
		valid = variable(g, WRITABLE, "PYXIS_CONTAINER_READONLY", true, get, of, value, why);
	free(value);
	return valid;
}

bool wish_container(const struct given *g) { return g->value[IMAGE] != NULL || g->value[NAME] != NULL; }

bool wish_possible(const struct given *g, reason why)
{
	return g->value[NAME] == NULL ||
	       complain(why, "%s %s: this version of ocishim has no named containers: leave it out, and name the image in each step",
			g->by[NAME], g->value[NAME]);
}

void wish_others(const struct given *g, reason list)
{
	size_t used = 0;

	list[0] = '\0';
	for (enum wish w = 0; w < WISHES && used < sizeof(reason); w++)
		if (g->value[w] != NULL)
			used += (size_t)snprintf(list + used, sizeof(reason) - used, "%s%s", used > 0 ? ", " : "", g->by[w]);
}

char *wish_reference(const char *image)
{
	const char *prefix = "docker://";
	char *reference;

	if (*image == '/' || strncmp(image, "./", 2) == 0 || strncmp(image, "../", 3) == 0 || strstr(image, "://") != NULL)
		prefix = "";
	else if (*image == '.')
		prefix = "./";
	return asprintf(&reference, "%s%s", prefix, image) < 0 ? NULL : reference;
}

void wish_free(struct given *g)
{
	for (enum wish w = 0; w < WISHES; w++)
		free(g->value[w]);
	memset(g, 0, sizeof(*g));
}
