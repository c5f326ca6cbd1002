/* Stands for libcuda: enough of one to be found, loaded and called. */
int cuInit(unsigned int flags) { return flags == 0 ? VALUE : -1; }

#ifdef NEEDS_NEW_GLIBC
/* pthread_create is of GLIBC_2.34 where this is compiled on such a system or newer. */
#include <pthread.h>
int cuStart(pthread_t *thread, void *(*start)(void *)) { return pthread_create(thread, 0, start, 0); }
#endif
