/* Writes down, in order, what a process does to the files in one folder: FASTGPU_POWER_FOLDER, into FASTGPU_POWER_LOG.
 *
 * Preloaded into a pool manager. What was not synced when a power cut comes may be lost in any part; only who knows
 * each write and each sync can build the folders that a cut may leave (see power.py, which has the log's format).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 65536

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, UNLINK, RENAME };

struct head {
    uint32_t kind, name_bytes;
    uint64_t offset, data_bytes;
};

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static char *names[DESCRIPTORS];
static int log_file = -1;

static const char *inside(const char *path) {
    const char *folder = getenv("FASTGPU_POWER_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    if (!length || strncmp(path, folder, length) || (path[length] && path[length] != '/'))
        return NULL;
    return path[length] ? path + length + 1 : ".";
}

static void note(uint32_t kind, const char *name, uint64_t offset, const void *data, uint64_t data_bytes) {
    struct head head = {kind, (uint32_t)strlen(name), offset, data_bytes};
    struct iovec parts[] = {
        {&head, sizeof head}, {(void *)name, head.name_bytes}, {(void *)data, data ? data_bytes : 0}};
    if (!data)
        head.data_bytes = 0;
    if (log_file < 0)
        log_file = (int)syscall(SYS_openat, AT_FDCWD, getenv("FASTGPU_POWER_LOG"),
                                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    syscall(SYS_writev, log_file, parts, 3);
}

static const char *name_of(int fd) {
    return fd >= 0 && fd < DESCRIPTORS ? names[fd] : NULL;
}

static void opened(int fd, const char *path, int existed, int flags) {
    const char *name = fd >= 0 && fd < DESCRIPTORS ? inside(path) : NULL;
    if (!name)
        return;
    pthread_mutex_lock(&one_at_a_time);
    free(names[fd]);
    names[fd] = strdup(name);
    if (!existed)
        note(CREATE, name, 0, NULL, 0);
    else if (flags & O_TRUNC)
        note(TRUNCATE, name, 0, NULL, 0);
    pthread_mutex_unlock(&one_at_a_time);
}

#define OPEN(FUNCTION)                                                       \
    int FUNCTION(const char *path, int flags, ...) {                         \
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #FUNCTION);   \
        struct stat found;                                                   \
        int existed = !inside(path) || !stat(path, &found);                  \
        va_list more;                                                        \
        va_start(more, flags);                                               \
        int fd = real(path, flags, flags & O_CREAT ? va_arg(more, int) : 0); \
        va_end(more);                                                        \
        opened(fd, path, existed, flags);                                    \
        return fd;                                                           \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    if (name_of(fd)) {
        pthread_mutex_lock(&one_at_a_time);
        free(names[fd]);
        names[fd] = NULL;
        pthread_mutex_unlock(&one_at_a_time);
    }
    return real(fd);
}

#define PWRITE(FUNCTION, OFFSET)                                                           \
    ssize_t FUNCTION(int fd, const void *data, size_t bytes, OFFSET offset) {              \
        ssize_t (*real)(int, const void *, size_t, OFFSET) = dlsym(RTLD_NEXT, #FUNCTION);  \
        if (!name_of(fd))                                                                  \
            return real(fd, data, bytes, offset);                                          \
        pthread_mutex_lock(&one_at_a_time);                                                \
        ssize_t done = real(fd, data, bytes, offset);                                      \
        if (done > 0)                                                                      \
            note(WRITE, names[fd], (uint64_t)offset, data, (uint64_t)done);                \
        pthread_mutex_unlock(&one_at_a_time);                                              \
        return done;                                                                       \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t bytes) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    if (!name_of(fd))
        return real(fd, data, bytes);
    pthread_mutex_lock(&one_at_a_time);
    ssize_t done = real(fd, data, bytes);
    if (done > 0)
        note(WRITE, names[fd], (uint64_t)(lseek(fd, 0, SEEK_CUR) - done), data, (uint64_t)done);
    pthread_mutex_unlock(&one_at_a_time);
    return done;
}

#define TRUNCATE_TO(FUNCTION, OFFSET)                                        \
    int FUNCTION(int fd, OFFSET length) {                                    \
        int (*real)(int, OFFSET) = dlsym(RTLD_NEXT, #FUNCTION);              \
        if (!name_of(fd))                                                    \
            return real(fd, length);                                         \
        pthread_mutex_lock(&one_at_a_time);                                  \
        int failed = real(fd, length);                                       \
        if (!failed)                                                         \
            note(TRUNCATE, names[fd], (uint64_t)length, NULL, 0);            \
        pthread_mutex_unlock(&one_at_a_time);                                \
        return failed;                                                       \
    }
TRUNCATE_TO(ftruncate, off_t)
TRUNCATE_TO(ftruncate64, off64_t)

#define SYNC_OF(FUNCTION)                                   \
    int FUNCTION(int fd) {                                  \
        int (*real)(int) = dlsym(RTLD_NEXT, #FUNCTION);     \
        if (!name_of(fd))                                   \
            return real(fd);                                \
        pthread_mutex_lock(&one_at_a_time);                 \
        int failed = real(fd);                              \
        if (!failed)                                        \
            note(SYNC, names[fd], 0, NULL, 0);              \
        pthread_mutex_unlock(&one_at_a_time);               \
        return failed;                                      \
    }
SYNC_OF(fsync)
SYNC_OF(fdatasync)

int unlink(const char *path) {
    int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
    const char *name = inside(path);
    if (!name)
        return real(path);
    pthread_mutex_lock(&one_at_a_time);
    int failed = real(path);
    if (!failed)
        note(UNLINK, name, 0, NULL, 0);
    pthread_mutex_unlock(&one_at_a_time);
    return failed;
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    const char *name = inside(from), *other = inside(to);
    if (!name || !other)
        return real(from, to);
    pthread_mutex_lock(&one_at_a_time);
    int failed = real(from, to);
    if (!failed)
        note(RENAME, name, 0, other, strlen(other));
    pthread_mutex_unlock(&one_at_a_time);
    return failed;
}
