/* Events, GPM samples and memory limits by cgroup. Event sets and samples belong to the process, the rest to all. */
#include "stub.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* --- events ------------------------------------------------------------------------------------------------------- */

#define SETS 16
#define SET_HANDLE 0x5E70000
#ifdef OLD_DRIVER
#define SUPPORTED_EVENTS 0xF /* ECC, P-state and Xid */
#else
#define SUPPORTED_EVENTS 0xD60F /* and ECC storm, row retirement, poison, GPU unavailable, recovery action */
#endif

/* From which event on a GPU is listened to, and for what. */
static struct set {
    int used;
    uint64_t types[GPUS];
    uint64_t from[GPUS];
} sets[SETS];

static struct set *set_of(handle_t handle) {
    uint64_t place = (uint64_t)handle - SET_HANDLE;
    return place < SETS && sets[place].used ? &sets[place] : NULL;
}

EXPORT int nvmlEventSetCreate(handle_t *to) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    for (uint64_t place = 0; place < SETS; place++)
        if (!sets[place].used) {
            sets[place] = (struct set){.used = 1};
            *to = (handle_t)(SET_HANDLE + place);
            return end(&call, SUCCESS);
        }
    return end(&call, UNKNOWN);
}

EXPORT int nvmlEventSetFree(handle_t handle) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    struct set *set = set_of(handle);
    if (!set)
        return end(&call, INVALID_ARGUMENT);
    set->used = 0;
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetSupportedEventTypes(handle_t device, uint64_t *types) {
    uint64_t answer = SUPPORTED_EVENTS;
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    give(&call, types, &answer, sizeof answer);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceRegisterEvents(handle_t device, uint64_t types, handle_t handle) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    struct set *set = set_of(handle);
    if (!set)
        return end(&call, INVALID_ARGUMENT);
    if (types & ~(uint64_t)SUPPORTED_EVENTS)
        return end(&call, NOT_SUPPORTED);
    set->types[number_of(call.gpu)] |= types;
    set->from[number_of(call.gpu)] = state->events_raised;
    return end(&call, SUCCESS);
}

struct event_data {
    handle_t device;
    uint64_t type, data;
    uint32_t instance_id, compute_id;
};

/* The first event that the set has not told yet; afterwards, whether a GPU that it listens to is lost. */
static int next_event(struct call *call, struct set *set, struct event_data *to) {
    uint64_t oldest = state->events_raised > EVENTS ? state->events_raised - EVENTS : 0;
    for (uint64_t number = oldest; number < state->events_raised; number++) {
        const struct event *event = &state->events[number % EVENTS];
        if (event->gpu >= GPUS || number < set->from[event->gpu])
            continue;
        set->from[event->gpu] = number + 1;
        if (!(set->types[event->gpu] & event->type))
            continue;
        uint64_t facts[2] = {event->type, event->data};
        uint32_t ids[2] = {event->instance_id, event->compute_id};
        to->device = handle_of(WHOLE, &state->gpus[event->gpu], NULL, NULL);
        give(call, &to->type, facts, sizeof facts);
        give(call, &to->instance_id, ids, sizeof ids);
        return SUCCESS;
    }
    for (uint32_t gpu = 0; gpu < GPUS; gpu++)
        if (set->types[gpu] && state->gpus[gpu].lost_at_ns)
            return GPU_IS_LOST;
    return TIMEOUT;
}

EXPORT int nvmlEventSetWait_v2(handle_t handle, struct event_data *to, uint32_t timeout_ms) {
    uint64_t deadline_ns = now_ns() + timeout_ms * 1000000ull;
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    for (;;) {
        struct set *set = set_of(handle);
        int error = set ? next_event(&call, set, to) : INVALID_ARGUMENT;
        if (error != TIMEOUT || now_ns() >= deadline_ns)
            return end(&call, error);
        unlock();
        rest(500);
        if (!lock())
            return end(&call, UNINITIALIZED);
    }
}

/* --- GPM: counters of the parts of a GPU, from Hopper on ---------------------------------------------------------- */

#ifndef OLD_DRIVER

#define SAMPLES 256
#define SAMPLE_HANDLE 0x6B30000
#define APART_NS 100000000 /* samples must be further apart than this */
enum { GRAPHICS = 1, SM = 2, SM_OCCUPANCY = 3, ANY_TENSOR = 5, DRAM_BANDWIDTH = 10 };

static struct sample {
    int used;
    uint64_t taken_ns;
    const struct gpu *gpu;
    uint32_t instance_id, sm_percent, memory_percent;
} samples[SAMPLES];

struct support { uint32_t version, is_supported; };

EXPORT int nvmlGpmQueryDeviceSupport(handle_t device, struct support *to) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    if (to->version != 1)
        return end(&call, VERSION_MISMATCH);
    give_number(&call, &to->is_supported, call.gpu->architecture >= HOPPER);
    return end(&call, SUCCESS);
}

static struct sample *sample_of(handle_t handle) {
    uint64_t place = (uint64_t)handle - SAMPLE_HANDLE;
    return place < SAMPLES && samples[place].used ? &samples[place] : NULL;
}

EXPORT int nvmlGpmSampleAlloc(handle_t *to) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    for (uint64_t place = 0; place < SAMPLES; place++)
        if (!samples[place].used) {
            samples[place] = (struct sample){.used = 1};
            *to = (handle_t)(SAMPLE_HANDLE + place);
            return end(&call, SUCCESS);
        }
    return end(&call, UNKNOWN); /* somebody forgets to free them */
}

EXPORT int nvmlGpmSampleFree(handle_t handle) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    struct sample *sample = sample_of(handle);
    if (!sample)
        return end(&call, INVALID_ARGUMENT);
    sample->used = 0;
    return end(&call, SUCCESS);
}

/* The caller says on which instance; NULL is the whole GPU. */
static int take(struct call *call, struct instance *instance, handle_t handle) {
    struct sample *sample = sample_of(handle);
    struct call part = {.gpu = call->gpu, .instance = instance};
    if (!sample)
        return end(call, INVALID_ARGUMENT);
    if (call->gpu->architecture < HOPPER)
        return end(call, NOT_SUPPORTED);
    *sample = (struct sample){.used = 1, .taken_ns = now_ns(), .gpu = call->gpu};
    sample->instance_id = instance ? instance->id : NONE;
    if (!instance) {
        sample->sm_percent = call->gpu->gpu_percent;
        sample->memory_percent = call->gpu->memory_percent;
    }
    for (struct process *one = next_process(&part, NULL); one; one = next_process(&part, one)) {
        sample->sm_percent += one->sm_percent;
        sample->memory_percent += one->memory_percent;
    }
    return end(call, SUCCESS);
}

EXPORT int nvmlGpmSampleGet(handle_t device, handle_t sample) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    return call.error ? call.error : take(&call, call.instance, sample);
}

EXPORT int nvmlGpmMigSampleGet(handle_t device, uint32_t instance_id, handle_t sample) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (!call.gpu->mig_current)
        return end(&call, NOT_SUPPORTED);
    for (struct instance *one = call.gpu->instances; one < call.gpu->instances + INSTANCES; one++)
        if (one->used && one->id == instance_id)
            return take(&call, one, sample);
    return end(&call, NOT_FOUND);
}

struct metric {
    uint32_t id;
    int error;
    double value;
    const char *short_name, *long_name, *unit;
};
struct metrics {
    uint32_t version, count;
    handle_t first, second;
    struct metric metric[];
};

static double bounded(double value) { return value > 100 ? 100 : value; }

EXPORT int nvmlGpmMetricsGet(struct metrics *metrics) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    const struct sample *first = sample_of(metrics->first), *second = sample_of(metrics->second);
    if (metrics->version != 1)
        return end(&call, VERSION_MISMATCH);
    if (!first || !second || !first->gpu || first->gpu != second->gpu || first->instance_id != second->instance_id)
        return end(&call, INVALID_ARGUMENT);
    if (second->taken_ns < first->taken_ns + APART_NS)
        return end(&call, NO_DATA);
    double sm = bounded(second->sm_percent), memory = bounded(second->memory_percent);
    for (struct metric *one = metrics->metric; one < metrics->metric + metrics->count; one++) {
        double value = one->id == GRAPHICS || one->id == SM ? sm
                       : one->id == SM_OCCUPANCY            ? sm / 2
                       : one->id == DRAM_BANDWIDTH          ? memory
                                                            : 0;
        int known = value > 0 || one->id == GRAPHICS || one->id == SM || one->id == SM_OCCUPANCY ||
                    one->id == ANY_TENSOR || one->id == DRAM_BANDWIDTH;
        one->error = known ? SUCCESS : NOT_SUPPORTED;
        give(&call, &one->value, &value, sizeof value);
        one->short_name = one->long_name = one->unit = "";
    }
    return end(&call, SUCCESS);
}

/* --- memory limits by cgroup -------------------------------------------------------------------------------------- */

struct set_limits { const char *cgroup; uint64_t soft_bytes, hard_bytes; };
struct get_limits { const char *cgroup; uint64_t soft_bytes, hard_bytes, used_bytes; };

static struct limit *limit_of(const struct call *call, const char *cgroup) {
    for (struct limit *one = state->limits; one < state->limits + LIMITS; one++)
        if (one->used && one->gpu == number_of(call->gpu) && !strcmp(one->cgroup, cgroup))
            return one;
    return NULL;
}

static int refuses(const struct call *call, const char *cgroup) {
    struct stat found;
    if (call->gpu->mig_current)
        return NOT_SUPPORTED;
    if (!cgroup || strlen(cgroup) >= sizeof state->limits->cgroup)
        return INVALID_ARGUMENT;
    return stat(cgroup, &found) || !S_ISDIR(found.st_mode) ? NOT_FOUND : SUCCESS;
}

EXPORT int nvmlDeviceSetMemoryLimits_v1(handle_t device, const struct set_limits *limits) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (!state->privileged)
        return end(&call, NO_PERMISSION);
    int error = refuses(&call, limits->cgroup);
    if (error)
        return end(&call, error);
    if (limits->soft_bytes > limits->hard_bytes)
        return end(&call, INVALID_ARGUMENT);
    struct limit *limit = limit_of(&call, limits->cgroup);
    for (struct limit *one = state->limits; !limit && one < state->limits + LIMITS; one++)
        if (!one->used)
            limit = one;
    if (!limit)
        return end(&call, INSUFFICIENT_RESOURCES);
    *limit = (struct limit){1, number_of(call.gpu), limits->soft_bytes, limits->hard_bytes, ""};
    snprintf(limit->cgroup, sizeof limit->cgroup, "%s", limits->cgroup);
    if (!limits->soft_bytes && limits->hard_bytes == UINT64_MAX)
        limit->used = 0;
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetMemoryLimits_v1(handle_t device, struct get_limits *limits) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    int error = refuses(&call, limits->cgroup);
    if (error)
        return end(&call, error);
    const struct limit *limit = limit_of(&call, limits->cgroup);
    uint64_t numbers[3] = {limit ? limit->soft_bytes : 0, limit ? limit->hard_bytes : UINT64_MAX, 0};
    for (struct process *one = next_process(&call, NULL); one; one = next_process(&call, one))
        if (in_cgroup(one, limits->cgroup))
            numbers[2] += one->memory_bytes;
    give(&call, &limits->soft_bytes, numbers, sizeof numbers);
    return end(&call, SUCCESS);
}

#endif
