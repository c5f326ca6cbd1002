/*
 * The SPANK plugin: pyxis's options for ocishim. In srun, sbatch and salloc it checks what the user
 * asks for. In the task it makes the command `ocishim run-image`, which does everything else.
 *
 * Whatever is wrong on a compute node is an error of the task, never of slurmstepd: Slurm drains a
 * node where a plugin fails before the tasks.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <slurm/slurm.h>
#include <slurm/spank.h>

#include "wishes.h"

#if SLURM_VERSION_NUMBER < SLURM_VERSION_NUM(23, 11, 0)
#error "Slurm before 23.11 lets no plugin change a task's command: see docs/pyxis.md"
#endif

SPANK_PLUGIN(ocishim, 1)

/* FAILED is the status of a task that we cannot start, as ocishim's own. */
enum { FAILED = 125 };

/* settings are what a site writes behind the plugin in plugstack.conf. */
struct settings {
	const char *ocishim;
	bool entrypoint, sbatch;
};

static bool read_settings(struct settings *s, int argc, char **argv, reason why)
{
	*s = (struct settings){.ocishim = "/usr/local/bin/ocishim", .sbatch = true};
	for (int i = 0; i < argc; i++) {
		bool *target = NULL;
		const char *value = strchr(argv[i], '=');
		int truth;

		value = value != NULL ? value + 1 : "";
		if (strncmp(argv[i], "ocishim=/", 9) == 0) {
			s->ocishim = value;
			continue;
		}
		if (strncmp(argv[i], "execute_entrypoint=", 19) == 0)
			target = &s->entrypoint;
		if (strncmp(argv[i], "sbatch_support=", 15) == 0)
			target = &s->sbatch;
		truth = word_of_truth(value);
		if (target == NULL || truth == -1) {
			(void)snprintf(why, sizeof(reason), "plugstack.conf: %s: expected ocishim=/PATH, execute_entrypoint=0|1 or sbatch_support=0|1", argv[i]);
			return false;
		}
		*target = truth == 1;
	}
	return true;
}

/* ---- the options ------------------------------------------------------------------------ */

static int option_given(int row, const char *value, int remote);

#define TEXT(name, form, wish, usage) {{name, form, "[ocishim] " usage, 1, wish, option_given}, wish, NULL}
#define SWITCH(name, wish, value, usage) {{name, NULL, "[ocishim] " usage, 0, 0, option_given}, wish, value}

static struct {
	struct spank_option option;
	enum wish wish;
	const char *value; /* of a switch */
} rows[] = {
	TEXT("container-image", "[USER@][REGISTRY#]IMAGE[:TAG]|PATH", IMAGE, "run the tasks in this image, of a registry or a file. A path begins with / or ./"),
	TEXT("container-mounts", "SRC[:DST[:FLAG+FLAG]][,...]", MOUNTS, "mount directories and files of the host, or tmpfs:DST; umount:DST takes a mount away"),
	TEXT("container-workdir", "PATH", WORKDIR, "start in this directory of the container"),
	TEXT("container-name", "NAME", NAME, "not available yet"),
	TEXT("container-save", "PATH", SAVE, "write the container's files to a squashfs file when the tasks have ended"),
	SWITCH("container-mount-home", HOME, "true", "mount the home directory"),
	SWITCH("no-container-mount-home", HOME, "false", "do not mount the home directory"),
	SWITCH("container-remap-root", ROOT, "true", "appear as root in the container, without root's rights"),
	SWITCH("no-container-remap-root", ROOT, "false", "be the same user in the container"),
	SWITCH("container-entrypoint", ENTRYPOINT, "true", "run the command by the image's entrypoint"),
	SWITCH("no-container-entrypoint", ENTRYPOINT, "false", "run the command itself"),
	SWITCH("container-entrypoint-log", ENTRYPOINT_LOG, "true", "no effect: what an entrypoint prints is the task's output"),
	SWITCH("container-writable", WRITABLE, "true", "let the tasks change the container's files"),
	SWITCH("container-readonly", WRITABLE, "false", "let nothing change the container's files"),
	TEXT("container-env", "NAME[,NAME...]", ENV, "let the job's values of these variables win over the image's"),
	TEXT("container-unshare", "NS[,NS...]", UNSHARE, "give the container its own namespaces: net, ipc, uts"),
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/*
 * local is what srun, sbatch or salloc has read so far: SPANK's callbacks have no other place. It is
 * never used on a compute node.
 */
static struct given local;

/* by returns the option as users write it; the string is static. */
static const char *by(int row)
{
	static char names[ROWS][32];

	(void)snprintf(names[row], sizeof(names[row]), "--%s", rows[row].option.name);
	return names[row];
}

/* inherited reports whether srun has the value from salloc or sbatch, which it reads first. */
static bool inherited(int row, const char *value)
{
	char name[128];
	const char *from;

	(void)snprintf(name, sizeof(name), "SLURM_SPANK__SLURM_SPANK_OPTION_ocishim_%s", rows[row].option.name);
	for (char *c = name; *c; c++)
		if (*c == '-')
			*c = '_';
	from = getenv(name);
	return from != NULL && strcmp(from, value) == 0;
}

static int option_given(int row, const char *value, int remote)
{
	char **before = &local.value[rows[row].wish];
	reason why;

	if (remote) /* the task asks for it */
		return 0;
	if (rows[row].value == NULL && *before != NULL && inherited(row, *before)) {
		free(*before);
		*before = NULL;
	}
	if (wish_give(&local, rows[row].wish, rows[row].value != NULL ? rows[row].value : value, by(row), why) && wish_possible(&local, why))
		return 0;
	slurm_error("ocishim: %s", why);
	return -1;
}

static int register_options(spank_t sp)
{
	for (int row = 0; row < ROWS; row++) {
		rows[row].option.val = row;
		if (spank_option_register(sp, &rows[row].option) != ESPANK_SUCCESS) {
			slurm_error("ocishim: option %s: another plugin has it: remove one of them from plugstack.conf", by(row));
			return -1;
		}
	}
	return 0;
}

static int is_pyxis(struct dl_phdr_info *library, size_t size, void *data)
{
	const char *name = strrchr(library->dlpi_name, '/');

	(void)size;
	(void)data;
	return name != NULL && strcmp(name, "/spank_pyxis.so") == 0;
}

/* beside_pyxis reports whether pyxis is loaded. Slurm loads all plugins before it calls one. */
static bool beside_pyxis(void) { return dl_iterate_phdr(is_pyxis, NULL) != 0; }

/* ---- in srun, sbatch and salloc --------------------------------------------------------- */

static int own_variable(void *of, const char *name, char *value)
{
	const char *found = getenv(name);

	(void)of;
	if (found == NULL)
		return 1;
	return snprintf(value, VARIABLE_MAX, "%s", found) < VARIABLE_MAX ? 0 : -1;
}

int slurm_spank_init(spank_t sp, int argc, char **argv)
{
	spank_context_t context = spank_context();
	bool here = context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR;
	struct settings s;
	reason why;

	if (!here && context != S_CTX_REMOTE)
		return 0;
	if (beside_pyxis()) {
		slurm_error("ocishim: spank_pyxis.so is in plugstack.conf as well, with the same options: remove one of the two");
		return here ? -1 : 0;
	}
	if (!here) { /* the task reports errors */
		(void)register_options(sp);
		return 0;
	}
	wish_free(&local);
	if (!read_settings(&s, argc, argv, why)) {
		slurm_error("ocishim: %s", why);
		return -1;
	}
	return context == S_CTX_ALLOCATOR && !s.sbatch ? 0 : register_options(sp);
}

int slurm_spank_init_post_opt(spank_t sp, int argc, char **argv)
{
	spank_context_t context = spank_context();
	struct settings s;
	reason why;
	int status = 0;

	(void)sp;
	if ((context != S_CTX_LOCAL && context != S_CTX_ALLOCATOR) || !read_settings(&s, argc, argv, why))
		return 0;
	if (context == S_CTX_ALLOCATOR && !s.sbatch)
		return 0;
	if (!wish_variables(&local, own_variable, NULL, why) || !wish_possible(&local, why)) {
		slurm_error("ocishim: %s", why);
		status = wish_container(&local) ? -1 : 0;
	} else if (!wish_container(&local)) {
		wish_others(&local, why);
		if (why[0] != '\0')
			slurm_error("ocishim: ignored without --container-image: %s", why);
	}
	wish_free(&local);
	return status;
}

/* ---- in the task ------------------------------------------------------------------------ */

static int job_variable(void *of, const char *name, char *value)
{
	spank_err_t err = spank_getenv(of, name, value, VARIABLE_MAX);

	if (err == ESPANK_SUCCESS)
		return 0;
	return err == ESPANK_NOSPACE ? -1 : 1;
}

/* read_job collects what the options, and then the job's variables, ask for. The image is read in any case. */
static bool read_job(spank_t sp, struct given *g, reason why)
{
	bool valid = true;
	reason other;

	for (int row = 0; row < ROWS; row++) {
		char *value = NULL;

		if (spank_option_getopt(sp, &rows[row].option, &value) != ESPANK_SUCCESS)
			continue;
		if (rows[row].value == NULL && value == NULL)
			continue;
		if (!wish_give(g, rows[row].wish, rows[row].value != NULL ? rows[row].value : value, by(row), valid ? why : other))
			valid = false;
	}
	return wish_variables(g, job_variable, sp, valid ? why : other) && valid;
}

/* fail ends the task. The first one of the node says why. */
_Noreturn static void fail(spank_t sp, const char *why)
{
	int task = 0;

	if (spank_get_item(sp, S_TASK_ID, &task) != ESPANK_SUCCESS || task == 0)
		dprintf(STDERR_FILENO, "ocishim: error: %s\n", why);
	_exit(FAILED);
}

/* prepend makes the task's command one of run-image. */
static bool prepend(spank_t sp, const struct settings *s, struct given *g)
{
	const char *argv[2 + 2 * WISHES + 3] = {s->ocishim, "run-image"};
	int argc = 2;

	for (enum wish w = 0; w < WISHES; w++) {
		char *wish;

		if (g->value[w] == NULL || wish_key(w) == NULL)
			continue;
		if (asprintf(&wish, "%s:%s=%s", wish_key(w), g->by[w], g->value[w]) < 0)
			return false;
		argv[argc++] = "--pyxis";
		argv[argc++] = wish; /* until exec */
	}
	argv[argc++] = "--";
	argv[argc] = wish_reference(g->value[IMAGE]);
	if (argv[argc++] == NULL)
		return false;
	argv[argc++] = "--";
	return spank_prepend_task_argv(sp, argc, argv) == ESPANK_SUCCESS;
}

int slurm_spank_task_init(spank_t sp, int argc, char **argv)
{
	struct given g = {0};
	struct settings s;
	reason why;
	uint32_t step = 0;
	bool valid;

	if (spank_context() != S_CTX_REMOTE || beside_pyxis())
		return 0;
	valid = read_job(sp, &g, why);
	if (!wish_container(&g)) {
		wish_free(&g);
		return 0;
	}
	if (!valid || !wish_possible(&g, why) || !read_settings(&s, argc, argv, why))
		fail(sp, why);
	(void)spank_get_item(sp, S_JOB_STEPID, &step);
	if (step == SLURM_BATCH_SCRIPT && !s.sbatch) {
		wish_free(&g);
		return 0;
	}
	if (s.entrypoint && g.value[ENTRYPOINT] == NULL && !wish_give(&g, ENTRYPOINT, "true", "execute_entrypoint", why))
		fail(sp, why);
	if (!prepend(sp, &s, &g))
		fail(sp, "Slurm did not let the plugin change the task's command");
	wish_free(&g);
	return 0;
}
