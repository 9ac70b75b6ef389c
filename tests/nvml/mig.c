/* MIG: profiles, placements, GPU instances and the compute instances in them. The tables are in the state. */
#include "stub.h"
#include <stdio.h>
#include <string.h>

#define COMPUTE_SLICES_ENUMERATED 5
#define ENGINES_SHARED 0

/* What a compute instance may have, by the number that it is asked for and made by. */
static const uint32_t slices_of[COMPUTE_SLICES_ENUMERATED] = {1, 2, 3, 4, 7};

const struct profile *profile_of(const struct gpu *gpu, const struct instance *instance) {
    return &gpu->profiles[instance->profile];
}

/* --- mode --------------------------------------------------------------------------------------------------------- */

EXPORT int nvmlDeviceGetMigMode(handle_t device, uint32_t *current, uint32_t *pending) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (!call.gpu->mig_capable)
        return end(&call, NOT_SUPPORTED);
    give_number(&call, current, call.gpu->mig_current);
    give_number(&call, pending, call.gpu->mig_pending);
    return end(&call, SUCCESS);
}

static int is_divided(const struct gpu *gpu) {
    for (const struct instance *one = gpu->instances; one < gpu->instances + INSTANCES; one++)
        if (one->used)
            return 1;
    return 0;
}

/* Succeeds, as the driver does, also where the mode is only pending: `activation` says so. */
EXPORT int nvmlDeviceSetMigMode(handle_t device, uint32_t mode, uint32_t *activation) {
    struct call call = begin(__func__, device, WHOLE);
    uint32_t status = SUCCESS;
    if (call.error)
        return call.error;
    if (!call.gpu->mig_capable)
        return end(&call, NOT_SUPPORTED);
    if (!state->privileged)
        return end(&call, NO_PERMISSION);
    if (mode > 1)
        return end(&call, INVALID_ARGUMENT);
    call.gpu->mig_pending = mode;
    if (mode != call.gpu->mig_current) {
        if (next_process(&call, NULL) || is_divided(call.gpu))
            status = IN_USE;
        else if (call.gpu->mig_needs_reset)
            status = RESET_REQUIRED;
        else
            call.gpu->mig_current = mode;
    }
    give_number(&call, activation, status);
    return end(&call, SUCCESS);
}

/* Begins a call that needs MIG mode, and the right to change how the GPU is divided. */
static struct call begin_dividing(const char *function, handle_t handle, int takes) {
    struct call call = begin(function, handle, takes);
    if (!call.error && !call.gpu->mig_current)
        end(&call, NOT_SUPPORTED);
    else if (!call.error && !state->privileged)
        end(&call, NO_PERMISSION);
    return call;
}

/* --- profiles and placements -------------------------------------------------------------------------------------- */

struct placement { uint32_t start, size; };

struct profile_v1 {
    uint32_t id, is_p2p, slices, most, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    uint64_t memory_mib;
};
struct profile_v2 {
    uint32_t version, id, is_p2p, slices, most, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    uint64_t memory_mib;
    char name[96];
};

static struct profile *find_profile(struct gpu *gpu, uint32_t id, int enumerated) {
    for (struct profile *one = gpu->profiles; one < gpu->profiles + PROFILES; one++)
        if (one->used && id == (enumerated ? one->enumerated : one->id))
            return one;
    return NULL;
}

static int tell_profile(struct call *call, const struct profile *profile, struct profile_v2 *to) {
    if (!call->gpu->mig_capable || !profile)
        return end(call, NOT_SUPPORTED);
    if (to->version != VERSIONED(struct profile_v2, 2))
        return end(call, VERSION_MISMATCH);
    struct profile_v2 answer = {to->version, profile->id, 0, profile->slices, profile->most, profile->multiprocessors,
                                profile->copy_engines, profile->decoders, profile->encoders, profile->jpegs,
                                profile->ofas, profile->memory_mib, ""};
    snprintf(answer.name, sizeof answer.name, "MIG %s", profile->name);
    give(call, to, &answer, sizeof answer);
    return end(call, SUCCESS);
}

EXPORT int nvmlDeviceGetGpuInstanceProfileInfo(handle_t device, uint32_t number, struct profile_v1 *to) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (number >= PROFILES)
        return end(&call, INVALID_ARGUMENT);
    const struct profile *profile = find_profile(call.gpu, number, 1);
    if (!call.gpu->mig_capable || !profile)
        return end(&call, NOT_SUPPORTED);
    struct profile_v1 answer = {profile->id, 0, profile->slices, profile->most, profile->multiprocessors,
                                profile->copy_engines, profile->decoders, profile->encoders, profile->jpegs,
                                profile->ofas, profile->memory_mib};
    give(&call, to, &answer, sizeof answer);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetGpuInstanceProfileInfoV(handle_t device, uint32_t number, struct profile_v2 *to) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (number >= PROFILES)
        return end(&call, INVALID_ARGUMENT);
    return tell_profile(&call, find_profile(call.gpu, number, 1), to);
}

#ifndef OLD_DRIVER

EXPORT int nvmlDeviceGetGpuInstanceProfileInfoByIdV(handle_t device, uint32_t id, struct profile_v2 *to) {
    struct call call = begin(__func__, device, WHOLE);
    return call.error ? call.error : tell_profile(&call, find_profile(call.gpu, id, 0), to);
}

#endif

EXPORT int nvmlDeviceGetGpuInstancePossiblePlacements_v2(handle_t device, uint32_t id, struct placement *to,
                                                         uint32_t *count) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    const struct profile *profile = find_profile(call.gpu, id, 0);
    if (!call.gpu->mig_capable || !profile)
        return end(&call, NOT_SUPPORTED);
    if (!state->privileged)
        return end(&call, NO_PERMISSION);
    if (to && *count < profile->starts)
        return end(&call, INSUFFICIENT_SIZE);
    for (uint32_t place = 0; to && place < profile->starts; place++)
        give(&call, &to[place], &(struct placement){profile->start[place], profile->size}, sizeof *to);
    *count = profile->starts;
    return end(&call, SUCCESS);
}

static uint32_t how_many(const struct gpu *gpu, const struct profile *profile) {
    uint32_t made = 0;
    for (const struct instance *one = gpu->instances; one < gpu->instances + INSTANCES; one++)
        made += one->used && profile_of(gpu, one) == profile;
    return made;
}

/* The memory slices that are taken, a bit each. */
static uint32_t taken_slices(const struct gpu *gpu) {
    uint32_t taken = 0;
    for (const struct instance *one = gpu->instances; one < gpu->instances + INSTANCES; one++)
        if (one->used)
            taken |= ((1u << profile_of(gpu, one)->size) - 1) << one->start;
    return taken;
}

static uint32_t slices_at(const struct profile *profile, uint32_t start) { return ((1u << profile->size) - 1) << start; }

EXPORT int nvmlDeviceGetGpuInstanceRemainingCapacity(handle_t device, uint32_t id, uint32_t *count) {
    uint32_t more = 0;
    struct call call = begin_dividing(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    const struct profile *profile = find_profile(call.gpu, id, 0);
    if (!profile)
        return end(&call, NOT_SUPPORTED);
    uint32_t taken = taken_slices(call.gpu), made = how_many(call.gpu, profile);
    for (uint32_t place = 0; place < profile->starts && made + more < profile->most; place++) {
        uint32_t wanted = slices_at(profile, profile->start[place]);
        if (!(taken & wanted)) {
            taken |= wanted;
            more++;
        }
    }
    give_number(&call, count, more);
    return end(&call, SUCCESS);
}

/* --- GPU instances ------------------------------------------------------------------------------------------------ */

/* Larger instances have the smaller numbers, and a number is used again once it is free. */
static uint32_t free_id(const struct gpu *gpu, const struct profile *profile) {
    uint32_t id = profile->size >= 8 ? 0 : profile->size >= 4 ? 1 : profile->size >= 2 ? 3 : 7;
    for (const struct instance *one = gpu->instances; one < gpu->instances + INSTANCES; one++)
        if (one->used && one->id == id) {
            id++;
            one = gpu->instances - 1;
        }
    return id;
}

static int make(struct call *call, const struct profile *profile, uint32_t start, handle_t *to) {
    struct gpu *gpu = call->gpu;
    if (taken_slices(gpu) & slices_at(profile, start) || how_many(gpu, profile) >= profile->most)
        return INSUFFICIENT_RESOURCES;
    for (struct instance *one = gpu->instances; one < gpu->instances + INSTANCES; one++)
        if (!one->used) {
            memset(one, 0, sizeof *one);
            one->id = free_id(gpu, profile);
            one->serial = ++state->serial;
            one->profile = (uint32_t)(profile - gpu->profiles);
            one->start = start;
            one->used = 1;
            *to = handle_of(INSTANCE, gpu, one, NULL);
            return SUCCESS;
        }
    return INSUFFICIENT_RESOURCES;
}

/* Takes the first start that is free, and so may break the only place of a larger one, as drivers do. */
EXPORT int nvmlDeviceCreateGpuInstance(handle_t device, uint32_t id, handle_t *to) {
    struct call call = begin_dividing(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    const struct profile *profile = find_profile(call.gpu, id, 0);
    if (!profile)
        return end(&call, NOT_SUPPORTED);
    int error = INSUFFICIENT_RESOURCES;
    for (uint32_t place = 0; error && place < profile->starts; place++)
        error = make(&call, profile, profile->start[place], to);
    return end(&call, error);
}

EXPORT int nvmlDeviceCreateGpuInstanceWithPlacement(handle_t device, uint32_t id, const struct placement *placement,
                                                    handle_t *to) {
    struct call call = begin_dividing(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    const struct profile *profile = find_profile(call.gpu, id, 0);
    if (!profile)
        return end(&call, NOT_SUPPORTED);
    for (uint32_t place = 0; place < profile->starts; place++)
        if (placement->start == profile->start[place] && placement->size == profile->size)
            return end(&call, make(&call, profile, placement->start, to));
    return end(&call, INVALID_ARGUMENT);
}

EXPORT int nvmlGpuInstanceDestroy(handle_t handle) {
    struct call call = begin_dividing(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    for (struct compute *one = call.instance->computes; one < call.instance->computes + COMPUTES; one++)
        if (one->used)
            return end(&call, IN_USE);
    if (next_process(&call, NULL))
        return end(&call, IN_USE);
    call.instance->used = 0;
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetGpuInstances(handle_t device, uint32_t id, handle_t *to, uint32_t *count) {
    struct call call = begin_dividing(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    const struct profile *profile = find_profile(call.gpu, id, 0);
    if (!profile)
        return end(&call, NOT_SUPPORTED);
    *count = 0;
    for (struct instance *one = call.gpu->instances; one < call.gpu->instances + INSTANCES; one++)
        if (one->used && profile_of(call.gpu, one) == profile)
            to[(*count)++] = handle_of(INSTANCE, call.gpu, one, NULL);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetGpuInstanceById(handle_t device, uint32_t id, handle_t *to) {
    struct call call = begin_dividing(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    for (struct instance *one = call.gpu->instances; one < call.gpu->instances + INSTANCES; one++)
        if (one->used && one->id == id) {
            *to = handle_of(INSTANCE, call.gpu, one, NULL);
            return end(&call, SUCCESS);
        }
    return end(&call, NOT_FOUND);
}

struct instance_info {
    handle_t device;
    uint32_t id, profile_id;
    struct placement placement;
};

EXPORT int nvmlGpuInstanceGetInfo(handle_t handle, struct instance_info *to) {
    struct call call = begin(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    const struct profile *profile = profile_of(call.gpu, call.instance);
    uint32_t numbers[4] = {call.instance->id, profile->id, call.instance->start, profile->size};
    to->device = handle_of(WHOLE, call.gpu, NULL, NULL);
    give(&call, &to->id, numbers, sizeof numbers);
    return end(&call, SUCCESS);
}

/* --- compute instances -------------------------------------------------------------------------------------------- */

struct compute_profile_v1 {
    uint32_t id, slices, most, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
};
struct compute_profile_v2 {
    uint32_t version, id, slices, most, multiprocessors, copy_engines, decoders, encoders, jpegs, ofas;
    char name[96];
};

/* The slices of a compute instance made by `number`, or 0 where the GPU instance has not as many. */
static uint32_t compute_slices(const struct call *call, uint32_t number) {
    uint32_t slices = number < COMPUTE_SLICES_ENUMERATED ? slices_of[number] : 0;
    return slices <= profile_of(call->gpu, call->instance)->slices ? slices : 0;
}

static uint32_t number_for(uint32_t slices) {
    uint32_t number = 0;
    while (slices_of[number] != slices)
        number++;
    return number;
}

static uint32_t multiprocessors(const struct profile *profile, uint32_t slices) {
    return profile->multiprocessors * slices / profile->slices;
}

static struct compute_profile_v1 compute_profile(const struct call *call, uint32_t number, uint32_t slices) {
    const struct profile *profile = profile_of(call->gpu, call->instance);
    return (struct compute_profile_v1){number, slices, profile->slices / slices, multiprocessors(profile, slices),
                                       profile->copy_engines, profile->decoders, profile->encoders, profile->jpegs,
                                       profile->ofas};
}

EXPORT int nvmlGpuInstanceGetComputeInstanceProfileInfo(handle_t handle, uint32_t number, uint32_t engines,
                                                        struct compute_profile_v1 *to) {
    struct call call = begin(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    uint32_t slices = compute_slices(&call, number);
    if (!slices || engines != ENGINES_SHARED)
        return end(&call, NOT_SUPPORTED);
    struct compute_profile_v1 answer = compute_profile(&call, number, slices);
    give(&call, to, &answer, sizeof answer);
    return end(&call, SUCCESS);
}

EXPORT int nvmlGpuInstanceGetComputeInstanceProfileInfoV(handle_t handle, uint32_t number, uint32_t engines,
                                                         struct compute_profile_v2 *to) {
    struct call call = begin(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    uint32_t slices = compute_slices(&call, number);
    if (!slices || engines != ENGINES_SHARED)
        return end(&call, NOT_SUPPORTED);
    if (to->version != VERSIONED(struct compute_profile_v2, 2))
        return end(&call, VERSION_MISMATCH);
    const struct profile *profile = profile_of(call.gpu, call.instance);
    struct compute_profile_v1 numbers = compute_profile(&call, number, slices);
    struct compute_profile_v2 answer = {.version = to->version};
    memcpy(&answer.id, &numbers, sizeof numbers);
    if (slices == profile->slices)
        snprintf(answer.name, sizeof answer.name, "MIG %s", profile->name);
    else
        snprintf(answer.name, sizeof answer.name, "MIG %uc.%s", slices, profile->name);
    give(&call, to, &answer, sizeof answer);
    return end(&call, SUCCESS);
}

static uint32_t taken_compute(const struct instance *instance) {
    uint32_t taken = 0;
    for (const struct compute *one = instance->computes; one < instance->computes + COMPUTES; one++)
        if (one->used)
            taken |= ((1u << one->slices) - 1) << one->start;
    return taken;
}

EXPORT int nvmlGpuInstanceGetComputeInstanceRemainingCapacity(handle_t handle, uint32_t number, uint32_t *count) {
    uint32_t more = 0;
    struct call call = begin_dividing(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    uint32_t slices = compute_slices(&call, number), taken = taken_compute(call.instance);
    if (!slices)
        return end(&call, NOT_SUPPORTED);
    for (uint32_t start = 0; start + slices <= profile_of(call.gpu, call.instance)->slices; start += slices)
        more += !(taken & ((1u << slices) - 1) << start);
    give_number(&call, count, more);
    return end(&call, SUCCESS);
}

EXPORT int nvmlGpuInstanceGetComputeInstancePossiblePlacements(handle_t handle, uint32_t number, struct placement *to,
                                                               uint32_t *count) {
    uint32_t there = 0;
    struct call call = begin_dividing(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    uint32_t slices = compute_slices(&call, number);
    if (!slices)
        return end(&call, NOT_SUPPORTED);
    for (uint32_t start = 0; start + slices <= profile_of(call.gpu, call.instance)->slices; start += slices) {
        if (to && there < *count)
            give(&call, &to[there], &(struct placement){start, slices}, sizeof *to);
        there++;
    }
    int error = to && *count < there ? INSUFFICIENT_SIZE : SUCCESS;
    *count = there;
    return end(&call, error);
}

/* A name of the form that MIG devices have: made from what the device is, and from `salt` so that it is the only one. */
static void name(char *to, size_t size, const char *gpu, uint32_t instance_id, uint32_t compute_id, uint32_t salt) {
    char text[160];
    uint64_t parts[2] = {0xCBF29CE484222325u, 0x9AE16A3B2F90404Fu};
    snprintf(text, sizeof text, "%s/%u/%u/%u", gpu, instance_id, compute_id, salt);
    for (const char *letter = text; *letter; letter++)
        for (int part = 0; part < 2; part++)
            parts[part] = (parts[part] ^ (uint8_t)*letter) * 0x100000001B3u;
    snprintf(to, size, "MIG-%08x-%04x-5%03x-8%03x-%012llx", (uint32_t)(parts[0] >> 32), (uint32_t)parts[0] >> 16,
             (uint32_t)parts[0] & 0xFFF, (uint32_t)(parts[1] >> 52), (unsigned long long)(parts[1] & 0xFFFFFFFFFFFF));
}

static int make_compute(struct call *call, uint32_t slices, uint32_t start, handle_t *to) {
    uint32_t wanted = ((1u << slices) - 1) << start, id = 0;
    if (taken_compute(call->instance) & wanted)
        return INSUFFICIENT_RESOURCES;
    while (id < COMPUTES && call->instance->computes[id].used)
        id++;
    if (id == COMPUTES)
        return INSUFFICIENT_RESOURCES;
    struct compute *made = &call->instance->computes[id];
    *made = (struct compute){.used = 1, .serial = ++state->serial, .id = id, .start = start, .slices = slices};
    name(made->uuid, sizeof made->uuid, call->gpu->uuid, call->instance->id, id,
         state->mig_uuids_repeat ? 0 : made->serial);
    *to = handle_of(COMPUTE, call->gpu, call->instance, made);
    return SUCCESS;
}

EXPORT int nvmlGpuInstanceCreateComputeInstance(handle_t handle, uint32_t number, handle_t *to) {
    struct call call = begin_dividing(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    uint32_t slices = compute_slices(&call, number);
    if (!slices)
        return end(&call, NOT_SUPPORTED);
    int error = INSUFFICIENT_RESOURCES;
    for (uint32_t start = 0; error && start + slices <= profile_of(call.gpu, call.instance)->slices; start += slices)
        error = make_compute(&call, slices, start, to);
    return end(&call, error);
}

EXPORT int nvmlGpuInstanceCreateComputeInstanceWithPlacement(handle_t handle, uint32_t number,
                                                             const struct placement *placement, handle_t *to) {
    struct call call = begin_dividing(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    uint32_t slices = compute_slices(&call, number);
    if (!slices)
        return end(&call, NOT_SUPPORTED);
    if (placement->size != slices || placement->start % slices ||
        placement->start + slices > profile_of(call.gpu, call.instance)->slices)
        return end(&call, INVALID_ARGUMENT);
    return end(&call, make_compute(&call, slices, placement->start, to));
}

EXPORT int nvmlComputeInstanceDestroy(handle_t handle) {
    struct call call = begin_dividing(__func__, handle, COMPUTE);
    if (call.error)
        return call.error;
    if (next_process(&call, NULL))
        return end(&call, IN_USE);
    call.compute->used = 0;
    return end(&call, SUCCESS);
}

EXPORT int nvmlGpuInstanceGetComputeInstances(handle_t handle, uint32_t number, handle_t *to, uint32_t *count) {
    struct call call = begin_dividing(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    uint32_t slices = compute_slices(&call, number);
    if (!slices)
        return end(&call, NOT_SUPPORTED);
    *count = 0;
    for (struct compute *one = call.instance->computes; one < call.instance->computes + COMPUTES; one++)
        if (one->used && one->slices == slices)
            to[(*count)++] = handle_of(COMPUTE, call.gpu, call.instance, one);
    return end(&call, SUCCESS);
}

EXPORT int nvmlGpuInstanceGetComputeInstanceById(handle_t handle, uint32_t id, handle_t *to) {
    struct call call = begin_dividing(__func__, handle, INSTANCE);
    if (call.error)
        return call.error;
    if (id >= COMPUTES || !call.instance->computes[id].used)
        return end(&call, NOT_FOUND);
    *to = handle_of(COMPUTE, call.gpu, call.instance, &call.instance->computes[id]);
    return end(&call, SUCCESS);
}

struct compute_info {
    handle_t device, instance;
    uint32_t id, profile_id;
    struct placement placement;
};

/* `device` is the MIG device that programs use, not the GPU. */
EXPORT int nvmlComputeInstanceGetInfo_v2(handle_t handle, struct compute_info *to) {
    struct call call = begin(__func__, handle, COMPUTE);
    if (call.error)
        return call.error;
    uint32_t numbers[4] = {call.compute->id, number_for(call.compute->slices), call.compute->start,
                           call.compute->slices};
    to->device = handle_of(MIG, call.gpu, call.instance, call.compute);
    to->instance = handle_of(INSTANCE, call.gpu, call.instance, NULL);
    give(&call, &to->id, numbers, sizeof numbers);
    return end(&call, SUCCESS);
}

/* --- MIG devices -------------------------------------------------------------------------------------------------- */

EXPORT int nvmlDeviceGetMaxMigDeviceCount(handle_t device, uint32_t *count) {
    uint32_t most = 0;
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    for (struct profile *one = call.gpu->profiles; one < call.gpu->profiles + PROFILES; one++)
        if (one->used && one->slices > most)
            most = one->slices;
    give_number(&call, count, call.gpu->mig_capable ? most : 0);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(handle_t device, uint32_t index, handle_t *to) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (!call.gpu->mig_current)
        return end(&call, NOT_SUPPORTED);
    for (struct instance *one = call.gpu->instances; one < call.gpu->instances + INSTANCES; one++)
        for (struct compute *part = one->computes; one->used && part < one->computes + COMPUTES; part++)
            if (part->used && !index--) {
                *to = handle_of(MIG, call.gpu, one, part);
                return end(&call, SUCCESS);
            }
    return end(&call, NOT_FOUND);
}

EXPORT int nvmlDeviceIsMigDeviceHandle(handle_t device, uint32_t *is_mig) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    give_number(&call, is_mig, call.compute != NULL);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle_t device, handle_t *to) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    if (!call.compute)
        return end(&call, INVALID_ARGUMENT);
    *to = handle_of(WHOLE, call.gpu, NULL, NULL);
    return end(&call, SUCCESS);
}

static int tell_id(const char *function, handle_t device, uint32_t *id, int of_compute) {
    struct call call = begin(function, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    if (!call.compute)
        return end(&call, NOT_SUPPORTED);
    give_number(&call, id, of_compute ? call.compute->id : call.instance->id);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetGpuInstanceId(handle_t device, uint32_t *id) { return tell_id(__func__, device, id, 0); }

EXPORT int nvmlDeviceGetComputeInstanceId(handle_t device, uint32_t *id) { return tell_id(__func__, device, id, 1); }

struct attributes {
    uint32_t multiprocessors, copy_engines, decoders, encoders, jpegs, ofas, instance_slices, compute_slices;
    uint64_t memory_mib;
};

EXPORT int nvmlDeviceGetAttributes_v2(handle_t device, struct attributes *to) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    if (!call.compute)
        return end(&call, NOT_SUPPORTED);
    const struct profile *profile = profile_of(call.gpu, call.instance);
    struct attributes answer = {multiprocessors(profile, call.compute->slices), profile->copy_engines,
                                profile->decoders, profile->encoders, profile->jpegs, profile->ofas, profile->slices,
                                call.compute->slices, profile->memory_mib};
    give(&call, to, &answer, sizeof answer);
    return end(&call, SUCCESS);
}
