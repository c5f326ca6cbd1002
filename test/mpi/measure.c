/*
 * What a user of MPI does, with every byte checked, and two figures: a ring, an
 * all-reduce, and 8-byte and 4-MiB messages between the first and the last rank in
 * both directions. With several compute nodes the last rank is on another one.
 *
 * Prints one line per finding, from rank 0:
 *
 *	ranks N
 *	ring ok
 *	allreduce ok
 *	latency MICROSECONDS     one way, 8 bytes
 *	bandwidth MIB_PER_SECOND one way, 4 MiB
 *
 * A wrong byte is an error message and the abort of all ranks.
 */
#define _GNU_SOURCE
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
	VECTOR = 4096,        /* numbers in the ring's and the all-reduce's messages */
	ROUNDS = 5,           /* number of their rounds */
	BATCHES = 301,        /* of small messages; the shortest is the figure */
	BATCH = 20,           /* round trips in a batch */
	LARGE = 4 << 20,      /* bytes of a large message */
	LARGE_TRIPS = 21,     /* round trips of large messages; the shortest is the figure */
	WARM_UP = 3,          /* the first round trips establish connections */
	TAG = 1
};

static int rank, ranks;

static void check(int right, const char *what, int round)
{
	if (right)
		return;
	fprintf(stderr, "measure: error: rank %d of %d: wrong data in the %s, round %d\n", rank, ranks, what, round);
	MPI_Abort(MPI_COMM_WORLD, 1);
}

static void *memory(size_t size)
{
	void *p = malloc(size);
	if (!p) {
		fprintf(stderr, "measure: error: no memory\n");
		MPI_Abort(MPI_COMM_WORLD, 1);
	}
	return p;
}

/* shortest returns the time in which no other process used the ranks' processors. */
static double shortest(const double *times, int n)
{
	double least = times[0];
	for (int i = 1; i < n; i++)
		least = times[i] < least ? times[i] : least;
	return least;
}

/* ring: each rank adds its own number to what goes around. */
static void ring(void)
{
	int *v = memory(VECTOR * sizeof(*v));
	int next = (rank + 1) % ranks, last = (rank + ranks - 1) % ranks;

	for (int round = 0; round < ROUNDS; round++) {
		if (rank == 0) {
			for (int i = 0; i < VECTOR; i++)
				v[i] = i + round;
			MPI_Send(v, VECTOR, MPI_INT, next, TAG, MPI_COMM_WORLD);
		}
		MPI_Recv(v, VECTOR, MPI_INT, last, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		if (rank == 0) {
			int sum = ranks * (ranks - 1) / 2;
			for (int i = 0; i < VECTOR; i++)
				check(v[i] == i + round + sum, "ring", round);
			continue;
		}
		for (int i = 0; i < VECTOR; i++)
			v[i] += rank;
		MPI_Send(v, VECTOR, MPI_INT, next, TAG, MPI_COMM_WORLD);
	}
	free(v);
}

static void all_reduce(void)
{
	long *mine = memory(VECTOR * sizeof(*mine)), *sum = memory(VECTOR * sizeof(*sum));

	for (int round = 0; round < ROUNDS; round++) {
		long squares = 0;
		for (int r = 0; r < ranks; r++)
			squares += (long)r * r;
		for (int i = 0; i < VECTOR; i++)
			mine[i] = (long)rank * rank + i + round;
		MPI_Allreduce(mine, sum, VECTOR, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
		for (int i = 0; i < VECTOR; i++)
			check(sum[i] == squares + (long)ranks * (i + round), "all-reduce", round);
	}
	free(mine);
	free(sum);
}

/* trip sends a message to the peer and waits for one, or the other way round. */
static void trip(void *out, void *in, int size, int peer)
{
	if (rank == 0)
		MPI_Send(out, size, MPI_BYTE, peer, TAG, MPI_COMM_WORLD);
	MPI_Recv(in, size, MPI_BYTE, peer, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	if (rank != 0)
		MPI_Send(out, size, MPI_BYTE, peer, TAG, MPI_COMM_WORLD);
}

/* latency returns half a round trip, in microseconds. */
static double latency(int peer)
{
	static double times[BATCHES];
	long out, in;

	for (int batch = -WARM_UP; batch < BATCHES; batch++) {
		double start = MPI_Wtime();
		for (int i = 0; i < BATCH; i++) {
			long number = (long)batch * BATCH + i;
			out = number * 3 + rank;
			trip(&out, &in, sizeof(out), peer);
			check(in == number * 3 + peer, "small message", batch);
		}
		if (batch >= 0)
			times[batch] = (MPI_Wtime() - start) / BATCH / 2;
	}
	return shortest(times, BATCHES) * 1e6;
}

/* pattern fills a large message, differently for each round and rank. */
static void pattern(unsigned *v, int round, int sender)
{
	for (unsigned i = 0; i < LARGE / sizeof(*v); i++)
		v[i] = i * 2654435761u + round * 7919u + sender;
}

/* bandwidth returns MiB per second in one direction, without filling and comparing. */
static double bandwidth(int peer)
{
	static double times[LARGE_TRIPS];
	unsigned *out = memory(LARGE), *in = memory(LARGE);

	for (int round = -WARM_UP; round < LARGE_TRIPS; round++) {
		pattern(out, round, rank);
		/* both are ready: waiting for the other's pattern does not count */
		trip(&(char){0}, &(char){0}, 1, peer);
		double start = MPI_Wtime();
		trip(out, in, LARGE, peer);
		if (round >= 0)
			times[round] = (MPI_Wtime() - start) / 2;
		for (unsigned i = 0; i < LARGE / sizeof(*in); i++)
			check(in[i] == i * 2654435761u + round * 7919u + peer, "large message", round);
	}
	free(out);
	free(in);
	return LARGE / 1048576.0 / shortest(times, LARGE_TRIPS);
}

/* pin gives the first and the last rank a processor each, as a site binds tasks: otherwise
 * the kernel sometimes runs both on one, and the figure is the scheduler's. */
static void pin(void)
{
	cpu_set_t may, one;
	int want = rank == 0 ? 0 : 1;

	if (sched_getaffinity(0, sizeof(may), &may) || CPU_COUNT(&may) < 2)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &may) || want-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

/* rest waits for all others without using the processor: ranks that measure may need it. */
static void rest(void)
{
	MPI_Request all;
	int here = 0;

	MPI_Ibarrier(MPI_COMM_WORLD, &all);
	while (MPI_Test(&all, &here, MPI_STATUS_IGNORE), !here)
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

int main(int argc, char **argv)
{
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &ranks);
	if (ranks < 2) {
		fprintf(stderr, "measure: error: %d rank: at least 2 are needed\n", ranks);
		MPI_Abort(MPI_COMM_WORLD, 1);
	}
	ring();
	all_reduce();

	double microseconds = 0, mib = 0;
	if (rank == 0 || rank == ranks - 1) {
		int peer = rank == 0 ? ranks - 1 : 0;
		pin();
		microseconds = latency(peer);
		mib = bandwidth(peer);
	}
	rest();
	if (rank == 0)
		printf("ranks %d\nring ok\nallreduce ok\nlatency %.3f\nbandwidth %.1f\n", ranks, microseconds, mib);
	MPI_Finalize();
	return 0;
}
