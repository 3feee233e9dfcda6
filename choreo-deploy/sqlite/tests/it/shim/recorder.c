/* Records what a process writes to the files of one folder, and what it syncs, in order.
 *
 * Preloaded (LD_PRELOAD) it stands before the C library's functions. RECORDER_FOLDER is the folder and
 * RECORDER_LOG the file that a record is appended to for each call:
 *
 *     1 byte   'W' write, 'T' truncate, 'S' sync
 *     8 bytes  length of the file's name, then the name
 *     8 bytes  offset in the file, or its new length
 *     8 bytes  length of the data, then the data
 *
 * Numbers are little-endian. Nothing is really synced: what a loss of power leaves is worked out from
 * the record. A sync is recorded before it returns, so it never covers a write that began after it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void append(int log, const void *data, size_t length) {
  if (syscall(SYS_write, log, data, length) != (long)length) abort();
}

static void record(char what, int file, uint64_t offset, const void *data, uint64_t length) {
  static int log = -1;
  const char *folder = getenv("RECORDER_FOLDER"), *name = getenv("RECORDER_LOG");
  char link[64], path[PATH_MAX];
  if (!folder || !name) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t found = readlink(link, path, sizeof path - 1);
  size_t begin = strlen(folder);
  if (found < 0 || strncmp(path, folder, begin) != 0) return;
  path[found] = 0;
  if (log < 0) log = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const char *file_name = strrchr(path, '/') + 1;
  uint64_t head[1] = {strlen(file_name)}, tail[2] = {offset, length};
  append(log, &what, 1);
  append(log, head, sizeof head);
  append(log, file_name, head[0]);
  append(log, tail, sizeof tail);
  if (length) append(log, data, length);
}

#define NEXT(type, name, ...) \
  static type (*next)(__VA_ARGS__); \
  if (!next) next = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define PWRITE(name, offset_type) \
  ssize_t name(int file, const void *data, size_t length, offset_type offset) { \
    NEXT(ssize_t, #name, int, const void *, size_t, offset_type); \
    pthread_mutex_lock(&lock); \
    ssize_t written = next(file, data, length, offset); \
    if (written > 0) record('W', file, offset, data, written); \
    pthread_mutex_unlock(&lock); \
    return written; \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int file, const void *data, size_t length) {
  NEXT(ssize_t, "write", int, const void *, size_t);
  pthread_mutex_lock(&lock);
  off_t offset = lseek(file, 0, SEEK_CUR);
  ssize_t written = next(file, data, length);
  if (written > 0 && offset >= 0) record('W', file, offset, data, written);
  pthread_mutex_unlock(&lock);
  return written;
}

#define TRUNCATE(name, offset_type) \
  int name(int file, offset_type length) { \
    NEXT(int, #name, int, offset_type); \
    pthread_mutex_lock(&lock); \
    int failed = next(file, length); \
    if (!failed) record('T', file, length, NULL, 0); \
    pthread_mutex_unlock(&lock); \
    return failed; \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name) \
  int name(int file) { \
    pthread_mutex_lock(&lock); \
    record('S', file, 0, NULL, 0); \
    pthread_mutex_unlock(&lock); \
    return 0; \
  }
SYNC(fsync)
SYNC(fdatasync)
