/* Begin and end: the state file, its lock, the rules that a test has laid down, and handles. */
#define _GNU_SOURCE
#include "stub.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct state *state;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static int file = -1;
static uint32_t sessions;
static uint64_t began_ns;

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t wall_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000;
}

/* Where a driver would block: seldom enough to cost next to nothing, as blocking does. */
void rest(int ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000l}, NULL); }

static int reopened(void) {
    const char *path = getenv("FASTGPU_FAKE_NVML_STATE");
    return path ? open(path, O_RDWR | O_CLOEXEC) : -1;
}

/* flock() belongs to the open file, which a child shares with its parent: it gets one of its own. */
static void in_the_child(void) {
    pthread_mutex_init(&gate, NULL);
    if (file >= 0) {
        close(file);
        file = reopened();
    }
}

/* Whether there is still a session; locked in either case. */
int lock(void) {
    pthread_mutex_lock(&gate);
    while (file >= 0 && flock(file, LOCK_EX) && errno == EINTR)
        ;
    return sessions > 0;
}

void unlock(void) {
    if (file >= 0)
        flock(file, LOCK_UN);
    pthread_mutex_unlock(&gate);
}

/* Maps the file; whether there is one that is a machine. */
static int opened(void) {
    static int prepared;
    struct stat found;
    if (!prepared) {
        pthread_atfork(NULL, NULL, in_the_child);
        prepared = 1;
    }
    file = reopened();
    if (file < 0)
        return 0;
    if (!fstat(file, &found) && (size_t)found.st_size == sizeof *state) {
        state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (state != MAP_FAILED && state->magic == MAGIC)
            return 1;
        if (state != MAP_FAILED)
            munmap(state, sizeof *state);
    }
    state = NULL;
    close(file);
    file = -1;
    return 0;
}

static void closed(void) {
    munmap(state, sizeof *state);
    close(file);
    state = NULL;
    file = -1;
}

/* --- rules ------------------------------------------------------------------------------------------------------ */

static void count(const char *function) {
    for (struct counter *one = state->counters; one < state->counters + COUNTERS; one++) {
        if (!*one->function)
            strncpy(one->function, function, sizeof one->function - 1);
        if (!strcmp(one->function, function)) {
            one->calls++;
            return;
        }
    }
}

static struct rule *rule_for(uint32_t kind, const char *function, uint32_t gpu) {
    for (struct rule *rule = state->rules; rule < state->rules + RULES; rule++)
        if (rule->kind == kind && (rule->gpu == NONE || rule->gpu == gpu) &&
            (!strcmp(rule->function, "*") || !strcmp(rule->function, function)))
            return rule;
    return NULL;
}

/* Takes one of the times that the rule is for. */
static void use(struct rule *rule) {
    if (rule->times != NONE && !--rule->times)
        rule->kind = 0;
}

/* Waits while a rule says so. The lock is let go meanwhile: another call may go on, and a test may lift the rule. */
static int hang(const char *function, uint32_t gpu) {
    struct rule *rule;
    while ((rule = rule_for(HANG, function, gpu)) && now_ns() < rule->until_ns) {
        unlock();
        rest(50);
        lock();
        if (!state)
            return UNINITIALIZED;
    }
    return SUCCESS;
}

static void apply_rules(struct call *call, const char *function, uint32_t gpu) {
    struct rule *rule;
    count(function);
    call->error = hang(function, gpu);
    if (call->error)
        return;
    call->hides = rule_for(HIDE, function, gpu) != NULL;
    if ((rule = rule_for(FAIL, function, gpu))) {
        call->error = (int)rule->error;
        use(rule);
    } else if ((rule = rule_for(GARBAGE, function, gpu))) {
        call->garbage = (int)rule->error;
        use(rule);
    }
}

/* --- handles: kind, GPU, instance, compute instance and the serial number of the last of them, from the left ------ */

uint32_t number_of(const struct gpu *gpu) { return (uint32_t)(gpu - state->gpus); }

handle_t handle_of(int kind, const struct gpu *gpu, const struct instance *instance, const struct compute *compute) {
    uint64_t serial = kind & (MIG | COMPUTE) ? compute->serial : kind == INSTANCE ? instance->serial : 0;
    uint64_t place = instance ? (uint64_t)(instance - gpu->instances) : 0;
    uint64_t part = compute ? (uint64_t)(compute - instance->computes) : 0;
    return (handle_t)((uint64_t)kind << 56 | (uint64_t)number_of(gpu) << 48 | place << 40 | part << 32 | serial);
}

/* Whether this session counts the GPU: one that was lost before the session began is not there for it. */
int is_seen(const struct gpu *gpu) { return gpu->present && (!gpu->lost_at_ns || gpu->lost_at_ns > began_ns); }

static int resolve(struct call *call, uint64_t bits, int takes) {
    int kind = (int)(bits >> 56);
    uint32_t gpu = bits >> 48 & 0xFF, place = bits >> 40 & 0xFF, part = bits >> 32 & 0xFF, serial = (uint32_t)bits;
    if ((kind != WHOLE && kind != MIG && kind != INSTANCE && kind != COMPUTE) || gpu >= GPUS)
        return INVALID_ARGUMENT;
    call->gpu = &state->gpus[gpu];
    if (!call->gpu->present)
        return INVALID_ARGUMENT;
    if (call->gpu->lost_at_ns)
        return GPU_IS_LOST;
    if (!(kind & takes))
        return kind == MIG ? NOT_SUPPORTED : INVALID_ARGUMENT;
    if (kind == WHOLE)
        return SUCCESS;
    if (place >= INSTANCES || part >= COMPUTES)
        return INVALID_ARGUMENT;
    call->instance = &call->gpu->instances[place];
    if (kind != INSTANCE)
        call->compute = &call->instance->computes[part];
    if (!call->instance->used || (call->compute && !call->compute->used))
        return NOT_FOUND;
    return serial == (call->compute ? call->compute->serial : call->instance->serial) ? SUCCESS : NOT_FOUND;
}

/* --- a call ------------------------------------------------------------------------------------------------------- */

struct call begin(const char *function, handle_t handle, int takes) {
    struct call call = {.garbage = -1};
    if (lock())
        apply_rules(&call, function, takes == NO_HANDLE ? NO_GPU : (uint32_t)((uint64_t)handle >> 48 & 0xFF));
    else
        call.error = UNINITIALIZED;
    if (!call.error && takes != NO_HANDLE)
        call.error = resolve(&call, (uint64_t)handle, takes);
    if (call.error)
        unlock();
    return call;
}

int end(struct call *call, int error) {
    call->error = error;
    unlock();
    return error;
}

void give(struct call *call, void *to, const void *from, size_t bytes) {
    if (call->garbage < 0)
        memcpy(to, from, bytes);
    else
        memset(to, call->garbage, bytes);
}

void give_number(struct call *call, uint32_t *to, uint32_t number) { give(call, to, &number, sizeof number); }

int give_text(struct call *call, char *to, uint32_t size, const char *text) {
    if (strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    give(call, to, text, strlen(text) + 1);
    return SUCCESS;
}

/* --- the library as a whole --------------------------------------------------------------------------------------- */

EXPORT int nvmlInitWithFlags(uint32_t flags) {
    struct call call = {.garbage = -1};
    (void)flags;
    pthread_mutex_lock(&gate);
    if (!state && !opened())
        call.error = DRIVER_NOT_LOADED;
    pthread_mutex_unlock(&gate);
    if (call.error)
        return call.error;
    lock();
    apply_rules(&call, __func__, NO_GPU);
    if (!call.error && !sessions++)
        began_ns = now_ns();
    return end(&call, call.error);
}

EXPORT int nvmlShutdown(void) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    sessions--;
    end(&call, SUCCESS);
    pthread_mutex_lock(&gate);
    if (!sessions && state)
        closed();
    pthread_mutex_unlock(&gate);
    return SUCCESS;
}

EXPORT const char *nvmlErrorString(int error) {
    static const struct { int error; const char *text; } texts[] = {
        {SUCCESS, "Success"}, {UNINITIALIZED, "Uninitialized"}, {INVALID_ARGUMENT, "Invalid Argument"},
        {NOT_SUPPORTED, "Not Supported"}, {NO_PERMISSION, "Insufficient Permissions"}, {NOT_FOUND, "Not Found"},
        {INSUFFICIENT_SIZE, "Insufficient Size"}, {DRIVER_NOT_LOADED, "Driver Not Loaded"}, {TIMEOUT, "Timeout"},
        {GPU_IS_LOST, "GPU is lost"}, {RESET_REQUIRED, "GPU requires restart"}, {IN_USE, "In use by another client"},
        {NO_DATA, "No data"}, {INSUFFICIENT_RESOURCES, "Insufficient Resources"},
        {VERSION_MISMATCH, "Argument version mismatch"},
    };
    for (size_t place = 0; place < sizeof texts / sizeof *texts; place++)
        if (texts[place].error == error)
            return texts[place].text;
    return "Unknown Error";
}

EXPORT int nvmlSystemGetDriverVersion(char *version, uint32_t size) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    return call.error ? call.error : end(&call, give_text(&call, version, size, state->driver_version));
}

EXPORT int nvmlSystemGetNVMLVersion(char *version, uint32_t size) {
    char text[96];
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    snprintf(text, sizeof text, "%u.%s", state->cuda_version / 1000, state->driver_version);
    return end(&call, give_text(&call, version, size, text));
}

static int tell_cuda_version(const char *function, uint32_t *version) {
    struct call call = begin(function, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    give_number(&call, version, state->cuda_version);
    return end(&call, SUCCESS);
}

EXPORT int nvmlSystemGetCudaDriverVersion(uint32_t *version) { return tell_cuda_version(__func__, version); }

EXPORT int nvmlSystemGetCudaDriverVersion_v2(uint32_t *version) { return tell_cuda_version(__func__, version); }

EXPORT int nvmlSystemGetProcessName(uint32_t pid, char *name, uint32_t size) {
    char path[40], text[1024] = "";
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    int source = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = source < 0 ? 0 : read(source, text, sizeof text - 1);
    if (source >= 0)
        close(source);
    if (length <= 0)
        return end(&call, NOT_FOUND);
    return end(&call, give_text(&call, name, size, text));
}
