/* Loaded ahead of libc: counts the calls that touch files below a folder, and lets the n-th of a kind fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, WRITE, FSYNC, RENAME, LINK, MMAP, TRUNCATE, UNLINK, LOCK, KINDS };
enum { ONCE, EVER, KILL, HALF };

static char folder[4096];
static char watched[65536]; /* by file descriptor */
static int kind = -1, nth, code, mode;
static int counts[KINDS];

void xpfault_arm(const char *path, int k, int n, int error, int m) {
    strncpy(folder, path, sizeof folder - 1);
    kind = k, nth = n, code = error, mode = m;
    memset(counts, 0, sizeof counts);
}

int xpfault_count(int k) { return counts[k]; }

static int below(const char *path) {
    size_t n = strlen(folder);
    return n && path && !strncmp(path, folder, n) && (path[n] == '/' || !path[n]);
}

/* Whether this call of a kind is to fail; it may not return. */
static int fails(int k) {
    int count = __sync_add_and_fetch(&counts[k], 1);
    if (k != kind || !(count == nth || (mode == EVER && count > nth))) return 0;
    if (mode == KILL) kill(getpid(), SIGKILL);
    errno = code;
    return 1;
}

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name); real; })
#define WATCHED(fd) ((fd) >= 0 && (fd) < (int)sizeof watched && watched[fd])

#define OPENING(name, path, ...)                                                    \
    mode_t mode = 0;                                                                \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                          \
        va_list rest;                                                               \
        va_start(rest, flags);                                                      \
        mode = va_arg(rest, mode_t);                                                \
        va_end(rest);                                                               \
    }                                                                               \
    int ours = below(path);                                                         \
    if (ours && fails(OPEN)) return -1;                                             \
    int fd = REAL(name)(__VA_ARGS__, flags, mode);                                  \
    if (fd >= 0 && fd < (int)sizeof watched) watched[fd] = ours;                    \
    return fd;

int open(const char *path, int flags, ...) { OPENING(open, path, path) }
int open64(const char *path, int flags, ...) { OPENING(open64, path, path) }
int openat(int at, const char *path, int flags, ...) { OPENING(openat, path, at, path) }
int openat64(int at, const char *path, int flags, ...) { OPENING(openat64, path, at, path) }

int close(int fd) {
    if (fd >= 0 && fd < (int)sizeof watched) watched[fd] = 0;
    return REAL(close)(fd);
}

ssize_t write(int fd, const void *data, size_t n) {
    if (WATCHED(fd) && fails(WRITE)) {
        if (mode == HALF) REAL(write)(fd, data, n / 2);
        errno = code;
        return -1;
    }
    return REAL(write)(fd, data, n);
}

int fsync(int fd) { return WATCHED(fd) && fails(FSYNC) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return WATCHED(fd) && fails(FSYNC) ? -1 : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t n) { return WATCHED(fd) && fails(TRUNCATE) ? -1 : REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { return WATCHED(fd) && fails(TRUNCATE) ? -1 : REAL(ftruncate64)(fd, n); }
int flock(int fd, int how);
int flock(int fd, int how) { return WATCHED(fd) && fails(LOCK) ? -1 : REAL(flock)(fd, how); }

int rename(const char *a, const char *b) { return below(b) && fails(RENAME) ? -1 : REAL(rename)(a, b); }
int renameat(int at, const char *a, int bt, const char *b) {
    return below(b) && fails(RENAME) ? -1 : REAL(renameat)(at, a, bt, b);
}
int link(const char *a, const char *b) { return below(b) && fails(LINK) ? -1 : REAL(link)(a, b); }
int linkat(int at, const char *a, int bt, const char *b, int flags) {
    return below(b) && fails(LINK) ? -1 : REAL(linkat)(at, a, bt, b, flags);
}
int unlink(const char *a) { return below(a) && fails(UNLINK) ? -1 : REAL(unlink)(a); }
int unlinkat(int at, const char *a, int flags) {
    return below(a) && fails(UNLINK) ? -1 : REAL(unlinkat)(at, a, flags);
}

void *mmap(void *at, size_t n, int access, int flags, int fd, off_t offset) {
    return WATCHED(fd) && fails(MMAP) ? MAP_FAILED : REAL(mmap)(at, n, access, flags, fd, offset);
}
void *mmap64(void *at, size_t n, int access, int flags, int fd, off64_t offset) {
    return WATCHED(fd) && fails(MMAP) ? MAP_FAILED : REAL(mmap64)(at, n, access, flags, fd, offset);
}
