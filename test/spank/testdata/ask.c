// Asks for what the arguments say, NUMBER:BY=VALUE each, and then what the environment says, as the
// plugin does. It prints what came of it, or why not. `ask fuzz N` gives it N rounds of nonsense.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wishes.h"

static unsigned seed;

static char *nonsense(char *text, int most)
{
	static const char letters[] = "a/.:,+=tmpfsumountneti\\ \n\x7f\xff-yY1";
	int length = rand_r(&seed) % most;

	for (int i = 0; i < length; i++)
		text[i] = letters[(unsigned)rand_r(&seed) % (sizeof(letters) - 1)];
	text[length] = '\0';
	return text;
}

static int any_variable(void *of, const char *name, char *value)
{
	(void)of;
	(void)name;
	switch (rand_r(&seed) % 4) {
	case 0:
		return 1;
	case 1:
		return -1;
	case 2:
		memset(value, 'x', VARIABLE_MAX - 1);
		value[VARIABLE_MAX - 1] = '\0';
		return 0;
	}
	nonsense(value, 40);
	return 0;
}

// is_line aborts unless the reason is one line without control characters.
static void is_line(const char *why)
{
	if (*why == '\0' || strlen(why) >= sizeof(reason))
		abort();
	for (; *why; why++)
		if ((unsigned char)*why < ' ' || *why == 0x7f)
			abort();
}

static int fuzz(int rounds)
{
	char text[2000];
	reason why;

	for (int i = 0; i < rounds; i++) {
		struct given g = {0};

		seed = (unsigned)i;
		for (int k = 0; k < 4; k++)
			if (!wish_give(&g, (enum wish)(rand_r(&seed) % WISHES), nonsense(text, i % 50 == 0 ? 1999 : 30), "--option", why))
				is_line(why);
		if (i % 20 == 0 && !wish_variables(&g, any_variable, NULL, why))
			is_line(why);
		if (!wish_possible(&g, why))
			is_line(why);
		wish_others(&g, why);
		if (strlen(why) >= sizeof(reason))
			abort();
		if (g.value[IMAGE] != NULL)
			free(wish_reference(g.value[IMAGE]));
		wish_free(&g);
	}
	return 0;
}

static int variable(void *of, const char *name, char *value)
{
	const char *found = getenv(name);

	(void)of;
	if (found == NULL)
		return 1;
	return snprintf(value, VARIABLE_MAX, "%s", found) < VARIABLE_MAX ? 0 : -1;
}

static int ask(int argc, char **argv)
{
	struct given g = {0};
	reason why;
	bool valid = true;

	for (int i = 1; valid && i < argc; i++) {
		char *by = strchr(argv[i], ':') + 1, *value = strchr(by, '=');

		*value = '\0';
		valid = wish_give(&g, (enum wish)atoi(argv[i]), value + 1, by, why);
	}
	if (!valid || !wish_variables(&g, variable, NULL, why) || !wish_possible(&g, why)) {
		printf("error: %s\n", why);
		wish_free(&g);
		return 0;
	}
	wish_others(&g, why);
	printf("container %d: %s\n", wish_container(&g), why);
	for (enum wish w = 0; w < WISHES; w++)
		if (g.value[w] != NULL && wish_key(w) != NULL)
			printf("%s %s\n", wish_key(w), g.value[w]);
	if (g.value[IMAGE] != NULL) {
		char *reference = wish_reference(g.value[IMAGE]);

		printf("= %s\n", reference);
		free(reference);
	}
	wish_free(&g);
	return 0;
}

int main(int argc, char **argv)
{
	return argc == 3 && strcmp(argv[1], "fuzz") == 0 ? fuzz(atoi(argv[2])) : ask(argc, argv);
}
