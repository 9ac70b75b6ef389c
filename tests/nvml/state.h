/* The simulated machine: what is in the file that FASTGPU_FAKE_NVML_STATE names.
 *
 * Every process that loads the stub maps this file; so does the test (layout.py reads the structures below from this
 * text, so keep to one field a line and to the types that are here). Whoever reads or writes holds flock() on the file.
 * Times are CLOCK_MONOTONIC in ns: one clock for all processes of the host.
 */
#include <stdint.h>

#define MAGIC 0x4E564D4C
#define GPUS 16
#define PROFILES 18
#define STARTS 8
#define INSTANCES 8
#define COMPUTES 8
#define PROCESSES 512
#define EVENTS 64
#define RULES 32
#define COUNTERS 160
#define LIMITS 128
#define NONE 0xFFFFFFFF

enum { FAIL = 1, HANG, GARBAGE, HIDE };

/* A way to divide a GPU by MIG. `enumerated` is the number by which it is asked for, `id` the one that makes it. */
struct profile {
    uint32_t used;
    uint32_t enumerated;
    uint32_t id;
    uint32_t slices;
    uint32_t size;
    uint32_t starts;
    uint32_t start[STARTS];
    uint32_t most;
    uint32_t multiprocessors;
    uint32_t copy_engines;
    uint32_t decoders;
    uint32_t encoders;
    uint32_t jpegs;
    uint32_t ofas;
    uint32_t memory_mib;
    char name[32];
};

struct compute {
    uint32_t used;
    uint32_t serial;
    uint32_t id;
    uint32_t start;
    uint32_t slices;
    char uuid[80];
};

/* `profile` is the place in the table of the GPU. */
struct instance {
    uint32_t used;
    uint32_t serial;
    uint32_t id;
    uint32_t profile;
    uint32_t start;
    struct compute computes[COMPUTES];
};

struct gpu {
    uint32_t present;
    uint32_t architecture;
    uint32_t capability_major;
    uint32_t capability_minor;
    uint32_t minor;
    uint32_t bus;
    uint32_t multiprocessors;
    uint32_t mig_capable;
    uint32_t mig_current;
    uint32_t mig_pending;
    uint32_t mig_needs_reset;
    uint32_t persistence;
    uint32_t compute_mode;
    uint32_t gpu_percent;
    uint32_t memory_percent;
    uint32_t temperature_c;
    uint32_t power_mw;
    uint32_t pcie_tx_kb_per_s;
    uint32_t pcie_rx_kb_per_s;
    uint32_t recovery_action;
    uint32_t remapped_corrected;
    uint32_t remapped_uncorrected;
    uint32_t remapping_pending;
    uint32_t remapping_failed;
    uint64_t ecc_corrected_volatile;
    uint64_t ecc_corrected_aggregate;
    uint64_t ecc_uncorrected_volatile;
    uint64_t ecc_uncorrected_aggregate;
    uint64_t lost_at_ns;
    uint64_t memory_bytes;
    uint64_t reserved_bytes;
    uint64_t nobodys_bytes;
    uint64_t energy_mj;
    uint64_t energy_at_ns;
    char name[96];
    char uuid[80];
    struct profile profiles[PROFILES];
    struct instance instances[INSTANCES];
};

/* `started` is of /proc/PID/stat: the process is gone from the GPU when it ends. 0: it stays until it is removed.
 * `cgroup` is the folder to take it for being in; empty: the one that /proc/PID/cgroup says. */
struct process {
    uint32_t used;
    uint32_t pid;
    uint64_t started;
    uint32_t gpu;
    uint32_t instance_id;
    uint32_t compute_id;
    uint32_t by_mps;
    uint32_t sm_percent;
    uint32_t memory_percent;
    uint64_t memory_bytes;
    char cgroup[256];
};

struct event {
    uint32_t gpu;
    uint32_t instance_id;
    uint32_t compute_id;
    uint32_t padding;
    uint64_t type;
    uint64_t data;
};

/* What a function does instead of its work. `function` "*" is every one, `gpu` NONE every GPU. */
struct rule {
    uint32_t kind;
    uint32_t gpu;
    uint32_t error;
    uint32_t times;
    uint64_t until_ns;
    char function[72];
};

struct counter {
    uint64_t calls;
    char function[72];
};

struct limit {
    uint32_t used;
    uint32_t gpu;
    uint64_t soft_bytes;
    uint64_t hard_bytes;
    char cgroup[256];
};

struct state {
    uint32_t magic;
    uint32_t privileged;
    uint32_t mig_uuids_repeat;
    uint32_t serial;
    uint32_t cuda_version;
    uint32_t padding;
    char driver_version[80];
    char cgroup_root[80];
    uint64_t events_raised;
    struct gpu gpus[GPUS];
    struct process processes[PROCESSES];
    struct event events[EVENTS];
    struct rule rules[RULES];
    struct counter counters[COUNTERS];
    struct limit limits[LIMITS];
};
