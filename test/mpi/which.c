/*
 * Which MPI a program runs on: rank 0 prints the number of ranks, the first line of
 * the library's version string, and the file that it was loaded from.
 *
 *	ranks N
 *	library TEXT
 *	file PATH
 *
 * With the number of a rank as its argument, that rank is then killed, as the kernel does
 * when memory is short, while the others wait for it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
	int rank, ranks, length, sum = 0;
	void *init;
	Dl_info from;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &ranks);
	MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	if (sum != ranks * (ranks - 1) / 2) {
		fprintf(stderr, "which: error: rank %d of %d: sum %d\n", rank, ranks, sum);
		MPI_Abort(MPI_COMM_WORLD, 1);
	}
	if (rank == 0) {
		MPI_Get_library_version(text, &length);
		text[strcspn(text, "\n")] = 0;
		init = dlsym(RTLD_DEFAULT, "MPI_Init");
		printf("ranks %d\nlibrary %s\nfile %s\n", ranks, text, init && dladdr(init, &from) ? from.dli_fname : "unknown");
	}
	if (argc > 1) {
		fflush(stdout);
		alarm(60); /* in case nothing ends the others */
		if (rank == atoi(argv[1]))
			kill(getpid(), SIGKILL);
		MPI_Barrier(MPI_COMM_WORLD);
	}
	MPI_Finalize();
	return 0;
}
