/* A program that is linked with libcuda. */
#include <stdio.h>
int cuInit(unsigned int flags);
int main(void) { return printf("linked %d\n", cuInit(0)) < 0; }
