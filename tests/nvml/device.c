/* GPUs: which there are, what they are, how they do, and which processes are on them. */
#include "stub.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB 1048576u
#define SAMPLED_EVERY_US 166667u /* how often the driver notes who used the GPU */

/* --- which there are ---------------------------------------------------------------------------------------------- */

EXPORT int nvmlDeviceGetCount_v2(uint32_t *count) {
    uint32_t seen = 0;
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    for (struct gpu *gpu = state->gpus; gpu < state->gpus + GPUS; gpu++)
        seen += is_seen(gpu) != 0;
    give_number(&call, count, seen);
    return end(&call, SUCCESS);
}

/* Hands out the GPU, or says why not. */
static int found(struct call *call, const struct gpu *gpu, handle_t *device) {
    if (gpu->lost_at_ns)
        return end(call, GPU_IS_LOST);
    *device = handle_of(WHOLE, gpu, NULL, NULL);
    return end(call, SUCCESS);
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(uint32_t index, handle_t *device) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    for (struct gpu *gpu = state->gpus; gpu < state->gpus + GPUS; gpu++)
        if (is_seen(gpu) && !index--)
            return found(&call, gpu, device);
    return end(&call, INVALID_ARGUMENT);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, handle_t *device) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    if (call.error)
        return call.error;
    for (struct gpu *gpu = state->gpus; uuid && gpu < state->gpus + GPUS; gpu++) {
        if (is_seen(gpu) && !strcmp(gpu->uuid, uuid))
            return found(&call, gpu, device);
        for (struct instance *one = gpu->instances; is_seen(gpu) && one < gpu->instances + INSTANCES; one++)
            for (struct compute *part = one->computes; one->used && part < one->computes + COMPUTES; part++)
                if (part->used && !strcmp(part->uuid, uuid)) {
                    *device = handle_of(MIG, gpu, one, part);
                    return end(&call, gpu->lost_at_ns ? GPU_IS_LOST : SUCCESS);
                }
    }
    return end(&call, uuid ? NOT_FOUND : INVALID_ARGUMENT);
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, handle_t *device) {
    struct call call = begin(__func__, NULL, NO_HANDLE);
    unsigned domain, bus;
    if (call.error)
        return call.error;
    if (!bus_id || sscanf(bus_id, "%x:%x:", &domain, &bus) != 2)
        return end(&call, INVALID_ARGUMENT);
    for (struct gpu *gpu = state->gpus; gpu < state->gpus + GPUS; gpu++)
        if (is_seen(gpu) && gpu->bus == bus && !domain)
            return found(&call, gpu, device);
    return end(&call, NOT_FOUND);
}

EXPORT int nvmlDeviceGetIndex(handle_t device, uint32_t *index) {
    uint32_t before = 0;
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    for (struct gpu *gpu = state->gpus; gpu < call.gpu; gpu++)
        before += is_seen(gpu) != 0;
    give_number(&call, index, before);
    return end(&call, SUCCESS);
}

/* --- what they are ------------------------------------------------------------------------------------------------ */

EXPORT int nvmlDeviceGetUUID(handle_t device, char *uuid, uint32_t size) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    return end(&call, give_text(&call, uuid, size, call.compute ? call.compute->uuid : call.gpu->uuid));
}

EXPORT int nvmlDeviceGetName(handle_t device, char *name, uint32_t size) {
    char text[160];
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    snprintf(text, sizeof text, "%s", call.gpu->name);
    if (call.instance)
        snprintf(text, sizeof text, "%s MIG %s", call.gpu->name, profile_of(call.gpu, call.instance)->name);
    return end(&call, give_text(&call, name, size, text));
}

/* The functions that give one number of a whole GPU, or of a MIG device too. */
#define GIVES_NUMBER(function, takes, field)                                                                          \
    EXPORT int function(handle_t device, uint32_t *number) {                                                          \
        struct call call = begin(__func__, device, takes);                                                            \
        if (call.error)                                                                                               \
            return call.error;                                                                                        \
        give_number(&call, number, call.gpu->field);                                                                  \
        return end(&call, SUCCESS);                                                                                   \
    }

GIVES_NUMBER(nvmlDeviceGetMinorNumber, WHOLE, minor)
GIVES_NUMBER(nvmlDeviceGetArchitecture, WHOLE | MIG, architecture)
GIVES_NUMBER(nvmlDeviceGetPersistenceMode, WHOLE, persistence)
GIVES_NUMBER(nvmlDeviceGetComputeMode, WHOLE | MIG, compute_mode)
GIVES_NUMBER(nvmlDeviceGetPowerUsage, WHOLE, power_mw)

EXPORT int nvmlDeviceSetComputeMode(handle_t device, uint32_t mode) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    if (!state->privileged)
        return end(&call, NO_PERMISSION);
    if (mode > 3)
        return end(&call, INVALID_ARGUMENT);
    call.gpu->compute_mode = mode;
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetCudaComputeCapability(handle_t device, int *major, int *minor) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    give(&call, major, &call.gpu->capability_major, sizeof *major);
    give(&call, minor, &call.gpu->capability_minor, sizeof *minor);
    return end(&call, SUCCESS);
}

struct pci {
    char bus_id_legacy[16];
    uint32_t domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
};

EXPORT int nvmlDeviceGetPciInfo_v3(handle_t device, struct pci *pci) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    struct pci answer = {.bus = call.gpu->bus};
    snprintf(answer.bus_id_legacy, sizeof answer.bus_id_legacy, "0000:%02X:00.0", call.gpu->bus & 0xFF);
    snprintf(answer.bus_id, sizeof answer.bus_id, "00000000:%02X:00.0", call.gpu->bus & 0xFF);
    give(&call, pci, &answer, sizeof answer);
    return end(&call, SUCCESS);
}

/* --- how they do -------------------------------------------------------------------------------------------------- */

struct memory { uint64_t total, free, used; };
struct memory_v2 { uint32_t version; uint64_t total, reserved, free, used; };

static struct memory_v2 memory(const struct call *call) {
    struct memory_v2 answer = {.total = call->gpu->memory_bytes, .reserved = call->gpu->reserved_bytes};
    if (call->instance) {
        answer.total = (uint64_t)profile_of(call->gpu, call->instance)->memory_mib * MIB;
        answer.reserved = 0;
    } else {
        answer.used = call->gpu->nobodys_bytes;
    }
    /* Compute instances of one GPU instance share its memory. */
    struct call all = *call;
    all.compute = NULL;
    for (struct process *one = next_process(&all, NULL); one; one = next_process(&all, one))
        answer.used += one->memory_bytes;
    if (answer.used > answer.total - answer.reserved)
        answer.used = answer.total - answer.reserved;
    answer.free = answer.total - answer.reserved - answer.used;
    return answer;
}

/* As in the driver, what is reserved is used in the first version and told apart in the second. */
EXPORT int nvmlDeviceGetMemoryInfo(handle_t device, struct memory *to) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    struct memory_v2 now = memory(&call);
    struct memory answer = {now.total, now.free, now.used + now.reserved};
    give(&call, to, &answer, sizeof answer);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(handle_t device, struct memory_v2 *to) {
    struct call call = begin(__func__, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    if (to->version != VERSIONED(struct memory_v2, 2))
        return end(&call, VERSION_MISMATCH);
    struct memory_v2 answer = memory(&call);
    answer.version = to->version;
    give(&call, to, &answer, sizeof answer);
    return end(&call, SUCCESS);
}

struct utilization { uint32_t gpu, memory; };

static uint32_t percent(uint32_t number) { return number > 100 ? 100 : number; }

EXPORT int nvmlDeviceGetUtilizationRates(handle_t device, struct utilization *to) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (call.gpu->mig_current)
        return end(&call, NOT_SUPPORTED);
    struct utilization answer = {call.gpu->gpu_percent, call.gpu->memory_percent};
    for (struct process *one = next_process(&call, NULL); one; one = next_process(&call, one)) {
        answer.gpu = percent(answer.gpu + one->sm_percent);
        answer.memory = percent(answer.memory + one->memory_percent);
    }
    give(&call, to, &answer, sizeof answer);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetTemperature(handle_t device, uint32_t sensor, uint32_t *celsius) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (sensor)
        return end(&call, INVALID_ARGUMENT);
    give_number(&call, celsius, call.gpu->temperature_c);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetPcieThroughput(handle_t device, uint32_t direction, uint32_t *kb_per_s) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (direction > 1)
        return end(&call, INVALID_ARGUMENT);
    give_number(&call, kb_per_s, direction ? call.gpu->pcie_rx_kb_per_s : call.gpu->pcie_tx_kb_per_s);
    return end(&call, SUCCESS);
}

static uint64_t energy_mj(const struct gpu *gpu) {
    return gpu->energy_mj + (uint64_t)((double)(now_ns() - gpu->energy_at_ns) / 1e9 * gpu->power_mw);
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(handle_t device, uint64_t *millijoules) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    uint64_t answer = energy_mj(call.gpu);
    give(&call, millijoules, &answer, sizeof answer);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetRemappedRows(handle_t device, uint32_t *corrected, uint32_t *uncorrected, uint32_t *pending,
                                     uint32_t *failed) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (call.gpu->architecture < AMPERE)
        return end(&call, NOT_SUPPORTED);
    give_number(&call, corrected, call.gpu->remapped_corrected);
    give_number(&call, uncorrected, call.gpu->remapped_uncorrected);
    give_number(&call, pending, call.gpu->remapping_pending);
    give_number(&call, failed, call.gpu->remapping_failed);
    return end(&call, SUCCESS);
}

EXPORT int nvmlDeviceGetTotalEccErrors(handle_t device, uint32_t kind, uint32_t counter, uint64_t *errors) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (kind > 1 || counter > 1)
        return end(&call, INVALID_ARGUMENT);
    const uint64_t *answers[2][2] = {
        {&call.gpu->ecc_corrected_volatile, &call.gpu->ecc_corrected_aggregate},
        {&call.gpu->ecc_uncorrected_volatile, &call.gpu->ecc_uncorrected_aggregate},
    };
    give(&call, errors, answers[kind][counter], sizeof *errors);
    return end(&call, SUCCESS);
}

/* --- fields ------------------------------------------------------------------------------------------------------- */

enum { ENERGY_MJ = 83, RESETLESS_MIG = 184, ENERGY = 191, MIG_QUERY_WITHOUT_MODE = 199, RECOVERY_ACTION = 230 };
enum { AN_UNSIGNED_INT = 1, AN_UNSIGNED_LONG_LONG = 3 };

struct field {
    uint32_t id, scope;
    int64_t timestamp_us, latency_us;
    uint32_t type;
    int error;
    union { uint32_t small; uint64_t large; double real; } value;
};

static void fill(const struct gpu *gpu, struct field *field) {
    field->error = SUCCESS;
    field->type = AN_UNSIGNED_INT;
    field->value.large = 0;
    switch (field->id) {
    case ENERGY_MJ:
    case ENERGY:
        field->type = AN_UNSIGNED_LONG_LONG;
        field->value.large = energy_mj(gpu);
        break;
    case RESETLESS_MIG:
        field->value.small = gpu->architecture >= HOPPER;
        break;
#ifndef OLD_DRIVER
    case MIG_QUERY_WITHOUT_MODE:
        field->value.small = gpu->mig_capable;
        break;
    case RECOVERY_ACTION:
        field->value.small = gpu->recovery_action;
        break;
#endif
    default:
        field->error = NOT_SUPPORTED;
    }
}

EXPORT int nvmlDeviceGetFieldValues(handle_t device, int count, struct field *fields) {
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    for (struct field *field = fields; field < fields + count; field++) {
        struct field answer = *field;
        fill(call.gpu, &answer);
        answer.timestamp_us = (int64_t)wall_us();
        give(&call, &field->timestamp_us, &answer.timestamp_us, sizeof answer - offsetof(struct field, timestamp_us));
    }
    return end(&call, SUCCESS);
}

/* --- processes ---------------------------------------------------------------------------------------------------- */

/* A process that ended, or whose number another one has now, is on no GPU any more: the driver sees to that. */
static int runs(const struct process *process) {
    char path[40], text[512];
    if (!process->started)
        return 1;
    snprintf(path, sizeof path, "/proc/%u/stat", process->pid);
    FILE *source = fopen(path, "re");
    if (!source)
        return 0;
    size_t length = fread(text, 1, sizeof text - 1, source);
    fclose(source);
    text[length] = 0;
    char *rest = strrchr(text, ')'), letter = 'Z';
    unsigned long long started = 0;
    if (rest)
        sscanf(rest + 1, " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &letter,
               &started);
    return letter != 'Z' && letter != 'X' && started == process->started;
}

struct process *next_process(const struct call *call, struct process *after) {
    for (struct process *one = after ? after + 1 : state->processes; one < state->processes + PROCESSES; one++)
        if (one->used && one->gpu == number_of(call->gpu) &&
            (!call->instance || one->instance_id == call->instance->id) &&
            (!call->compute || one->compute_id == call->compute->id) && runs(one))
            return one;
    return NULL;
}

int in_cgroup(const struct process *process, const char *folder) {
    char path[40], line[1024], own[2048] = "";
    size_t length = strlen(folder);
    if (*process->cgroup) {
        snprintf(own, sizeof own, "%s", process->cgroup);
    } else {
        snprintf(path, sizeof path, "/proc/%u/cgroup", process->pid);
        FILE *source = fopen(path, "re");
        if (!source)
            return 0;
        while (fgets(line, sizeof line, source))
            if (!strncmp(line, "0::", 3)) {
                line[strcspn(line, "\n")] = 0;
                snprintf(own, sizeof own, "%s%s", state->cgroup_root, line + 3);
            }
        fclose(source);
    }
    return !strncmp(own, folder, length) && (!own[length] || own[length] == '/');
}

struct running { uint32_t pid; uint64_t memory_bytes; uint32_t instance_id, compute_id; };

static int list(const char *function, handle_t device, uint32_t *count, struct running *to, int by_mps) {
    uint32_t there = 0;
    struct call call = begin(function, device, WHOLE | MIG);
    if (call.error)
        return call.error;
    if (call.gpu->mig_current && !call.compute && !state->privileged)
        return end(&call, NO_PERMISSION);
    for (struct process *one = call.hides ? NULL : next_process(&call, NULL); one; one = next_process(&call, one)) {
        if ((one->by_mps != 0) != by_mps)
            continue;
        if (to && there < *count) {
            struct running answer = {one->pid, one->memory_bytes, one->instance_id, one->compute_id};
            give(&call, &to[there], &answer, sizeof answer);
        }
        there++;
    }
    int error = there > (to ? *count : 0) ? INSUFFICIENT_SIZE : SUCCESS;
    *count = there;
    return end(&call, error);
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(handle_t device, uint32_t *count, struct running *to) {
    return list(__func__, device, count, to, 0);
}

/* What drivers before R510 have, with the same structure. */
EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(handle_t device, uint32_t *count, struct running *to) {
    return list(__func__, device, count, to, 0);
}

EXPORT int nvmlDeviceGetMPSComputeRunningProcesses_v3(handle_t device, uint32_t *count, struct running *to) {
    return list(__func__, device, count, to, 1);
}

static uint64_t sampled_us(void) {
    uint64_t now_us = wall_us();
    return now_us - now_us % SAMPLED_EVERY_US;
}

/* The next process that used the GPU in the last interval, if `since_us` is before its end. */
static struct process *next_used(const struct call *call, struct process *after, uint64_t since_us) {
    struct process *one = next_process(call, after);
    while (one && !one->sm_percent && !one->memory_percent)
        one = next_process(call, one);
    return sampled_us() > since_us ? one : NULL;
}

/* How many there are, and what a call with room for `room` of them says. */
static int fits(const struct call *call, uint64_t since_us, int asked, uint32_t room, uint32_t *there) {
    *there = 0;
    if (call->gpu->mig_current)
        return NOT_SUPPORTED;
    for (struct process *one = next_used(call, NULL, since_us); one; one = next_used(call, one, since_us))
        ++*there;
    if (!*there)
        return NOT_FOUND;
    return asked && room >= *there ? SUCCESS : INSUFFICIENT_SIZE;
}

struct use { uint32_t pid; uint64_t timestamp_us; uint32_t sm, memory, encoder, decoder; };

EXPORT int nvmlDeviceGetProcessUtilization(handle_t device, struct use *to, uint32_t *count, uint64_t since_us) {
    uint32_t there, written = 0;
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    int error = fits(&call, since_us, to != NULL, *count, &there);
    for (struct process *one = error ? NULL : next_used(&call, NULL, since_us); one && written < there;
         one = next_used(&call, one, since_us)) {
        struct use answer = {one->pid, sampled_us(), one->sm_percent, one->memory_percent, 0, 0};
        give(&call, &to[written++], &answer, sizeof answer);
    }
    *count = error ? there : written;
    return end(&call, error);
}

#ifndef OLD_DRIVER

struct use_v1 { uint64_t timestamp_us; uint32_t pid, sm, memory, encoder, decoder, jpeg, ofa; };
struct uses { uint32_t version, count; uint64_t since_us; struct use_v1 *to; };

EXPORT int nvmlDeviceGetProcessesUtilizationInfo(handle_t device, struct uses *uses) {
    uint32_t there, written = 0;
    struct call call = begin(__func__, device, WHOLE);
    if (call.error)
        return call.error;
    if (uses->version != VERSIONED(struct uses, 1))
        return end(&call, VERSION_MISMATCH);
    int error = fits(&call, uses->since_us, uses->to != NULL, uses->count, &there);
    for (struct process *one = error ? NULL : next_used(&call, NULL, uses->since_us); one && written < there;
         one = next_used(&call, one, uses->since_us)) {
        struct use_v1 answer = {sampled_us(), one->pid, one->sm_percent, one->memory_percent, 0, 0, 0, 0};
        give(&call, &uses->to[written++], &answer, sizeof answer);
    }
    uses->count = error ? there : written;
    return end(&call, error);
}

#endif
