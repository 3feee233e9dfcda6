/* A disk that takes 10 ms longer for each sync. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

static int sync_slowly(const char *name, int file) {
  int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  usleep(10 * 1000);
  return sync(file);
}

int fsync(int file) { return sync_slowly("fsync", file); }

int fdatasync(int file) { return sync_slowly("fdatasync", file); }
