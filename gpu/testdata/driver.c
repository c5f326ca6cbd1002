/* Stands for libcuda: enough of one to be found, loaded and called. */
int cuInit(unsigned int flags) { return flags == 0 ? VALUE : -1; }
