/* A libcuda.so.1 of our own, with the few calls that take, write and read device memory. There is one device, the one
 * that CUDA_VISIBLE_DEVICES names; its memory is a file of that name in the folder FAKE_CUDA_FOLDER, and stays as it is
 * when a process gives it back or ends. Who has which page is in the file, too; what a process had that has ended, is
 * free. The numbers of errors are CUDA's. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALL __attribute__((visibility("default"))) int
#define PAGES 16
#define PAGE_BYTES (2UL << 20)
#define ADDRESS 0x700000000000UL
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, NOT_FOUND = 500 };

/* tests/libcuda/stub.py has the same. */
struct head {
    char fail[32];   /* a function that gives an error */
    int32_t error;
    int32_t hangs;   /* that function does not return */
    int32_t calls;   /* contexts that were made */
    int32_t padding;
    struct { int32_t pid; int32_t length; uint64_t began; } page[PAGES]; /* length: in pages, of a piece's first one */
};

static struct head *head;
static uint8_t *memory;
static int file = -1;

/* When a process began, in ticks since boot; 0 where it has ended. */
static uint64_t began(int pid)
{
    char path[64], text[1024], *rest, state;
    unsigned long long start = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *stat = fopen(path, "r");
    if (!stat)
        return 0;
    text[fread(text, 1, sizeof text - 1, stat)] = 0;
    fclose(stat);
    rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 2, "%c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
                        &state, &start) != 2 || state == 'Z' || state == 'X')
        return 0;
    return start;
}

/* Whether the call goes on; else what it answers. */
static int enters(const char *name, int *answer)
{
    if (!head) {
        *answer = NOT_INITIALIZED;
        return 0;
    }
    if (strcmp(head->fail, name) == 0) {
        while (*(volatile int32_t *)&head->hangs)
            usleep(10000);
        if (head->error) {
            *answer = head->error;
            return 0;
        }
    }
    return 1;
}
#define ENTER int answer; if (!enters(__func__, &answer)) return answer

static void lock(void) { flock(file, LOCK_EX); }
static void unlock(void) { flock(file, LOCK_UN); }

static int is_free(int page)
{
    int pid = head->page[page].pid;
    return !pid || began(pid) != head->page[page].began;
}

CALL cuInit(unsigned flags)
{
    char path[4096];
    const char *folder = getenv("FAKE_CUDA_FOLDER"), *device = getenv("CUDA_VISIBLE_DEVICES");
    (void)flags;
    if (!folder || !device || strchr(device, ',') || strchr(device, '/'))
        return NO_DEVICE;
    snprintf(path, sizeof path, "%s/%s", folder, device);
    file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return NO_DEVICE;
    head = mmap(NULL, PAGE_BYTES * (PAGES + 1), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (head == MAP_FAILED)
        return OUT_OF_MEMORY;
    memory = (uint8_t *)head + PAGE_BYTES;
    ENTER;
    return SUCCESS;
}

CALL cuDeviceGetCount(int *count) { ENTER; *count = 1; return SUCCESS; }
CALL cuDeviceGet(int *device, int ordinal) { ENTER; *device = ordinal; return ordinal ? INVALID_VALUE : SUCCESS; }
CALL cuCtxSetCurrent(void *context) { ENTER; (void)context; return SUCCESS; }
CALL cuModuleLoadData(void **module, const void *image) { ENTER; (void)image; *module = head; return SUCCESS; }
CALL cuCtxSynchronize(void) { ENTER; return SUCCESS; }
CALL cuGetErrorName(int error, const char **name)
{
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN";
    return SUCCESS;
}

CALL cuDevicePrimaryCtxRetain(void **context, int device)
{
    ENTER;
    (void)device;
    lock();
    head->calls++;
    unlock();
    *context = head;
    return SUCCESS;
}

CALL cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    ENTER;
    *free_bytes = 0;
    *total_bytes = PAGES * PAGE_BYTES;
    lock();
    for (int page = 0; page < PAGES; page++)
        *free_bytes += is_free(page) ? PAGE_BYTES : 0;
    unlock();
    return SUCCESS;
}

CALL cuMemAlloc_v2(uint64_t *address, size_t bytes)
{
    ENTER;
    size_t length = (bytes + PAGE_BYTES - 1) / PAGE_BYTES, found = 0;
    int first = -1;
    lock();
    for (int page = 0; page < PAGES && found < length; page++)
        found = is_free(page) ? found + 1 : 0, first = page - (int)found + 1;
    if (found == length && length)
        for (size_t i = 0; i < length; i++) {
            head->page[first + i].pid = getpid();
            head->page[first + i].began = began(getpid());
            head->page[first + i].length = i ? 0 : (int)length;
        }
    unlock();
    if (found != length || !length)
        return OUT_OF_MEMORY;
    *address = ADDRESS + first * PAGE_BYTES;
    return SUCCESS;
}

/* Where that is, if all of it is the caller's. */
static uint8_t *own(uint64_t address, size_t bytes)
{
    uint64_t offset = address - ADDRESS;
    if (address < ADDRESS || offset + bytes > PAGES * PAGE_BYTES || !bytes)
        return NULL;
    for (uint64_t page = offset / PAGE_BYTES; page <= (offset + bytes - 1) / PAGE_BYTES; page++)
        if (head->page[page].pid != getpid())
            return NULL;
    return memory + offset;
}

CALL cuMemFree_v2(uint64_t address)
{
    ENTER;
    if (!own(address, 1))
        return INVALID_VALUE;
    lock();
    int first = (int)((address - ADDRESS) / PAGE_BYTES), length = head->page[first].length;
    for (int i = 0; i < length; i++)
        memset(&head->page[first + i], 0, sizeof head->page[0]);
    unlock();
    return SUCCESS;
}

CALL cuMemsetD8_v2(uint64_t address, unsigned char value, size_t bytes)
{
    ENTER;
    uint8_t *where = own(address, bytes);
    if (!where)
        return INVALID_VALUE;
    memset(where, value, bytes);
    return SUCCESS;
}

CALL cuMemsetD32_v2(uint64_t address, unsigned value, size_t words)
{
    ENTER;
    uint32_t *where = (uint32_t *)(void *)own(address, 4 * words);
    if (!where)
        return INVALID_VALUE;
    for (size_t i = 0; i < words; i++)
        where[i] = value;
    return SUCCESS;
}

CALL cuMemcpyDtoH_v2(void *to, uint64_t address, size_t bytes)
{
    ENTER;
    uint8_t *where = own(address, bytes);
    if (!where)
        return INVALID_VALUE;
    memcpy(to, where, bytes);
    return SUCCESS;
}
