/* A program that opens libcuda by each name that programs use, as most do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		void *lib = dlopen(argv[i], RTLD_NOW);
		if (lib == NULL) {
			printf("%s: %s\n", argv[i], dlerror());
			continue;
		}
		int (*init)(unsigned int) = (int (*)(unsigned int))dlsym(lib, "cuInit");
		Dl_info info;
		char path[4096] = "?";
		if (init && dladdr((void *)init, &info)) {
			if (!realpath(info.dli_fname, path)) strcpy(path, info.dli_fname);
		}
		printf("%s: %d from %s\n", argv[i], init ? init(0) : -2, path);
		dlclose(lib);
	}
	return 0;
}
