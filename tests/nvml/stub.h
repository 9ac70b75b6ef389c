/* What the parts of the stub share: the types that cross the library's border, and how a call begins and ends.
 *
 * The layouts are those of the ctypes classes in pynvml (nvidia-ml-py, BSD-3-Clause).
 */
#include "state.h"
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))
#define NO_GPU (NONE - 1)

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, TIMEOUT = 10, GPU_IS_LOST = 15, RESET_REQUIRED = 16, IN_USE = 19,
    NO_DATA = 21, INSUFFICIENT_RESOURCES = 23, VERSION_MISMATCH = 25, UNKNOWN = 999
};
enum { AMPERE = 7, HOPPER = 9 };

/* What a handle may stand for, as bits: a function says which it takes. */
enum { WHOLE = 1, MIG = 2, INSTANCE = 4, COMPUTE = 8, NO_HANDLE = 0 };

/* A number with the size of a struct in front, as NVML's versioned structures have it in their first field. */
#define VERSIONED(type, version) (sizeof(type) | (version) << 24)

typedef void *handle_t;

/* One call of the library, from begin() to end(). The state is locked in between, unless `error` is set. */
struct call {
    int error;
    int hides; /* whether processes are not listed */
    int garbage; /* what to fill answers with, or -1 */
    struct gpu *gpu;
    struct instance *instance;
    struct compute *compute;
};

extern struct state *state;
uint64_t now_ns(void);
uint64_t wall_us(void); /* what the driver stamps its samples with */
void rest(int ms);
int lock(void);
void unlock(void);

/* Counts the call, applies the rules for it, and finds what the handle stands for. */
struct call begin(const char *function, handle_t handle, int takes);
int end(struct call *call, int error);
/* Writes an answer, or garbage in its place. */
void give(struct call *call, void *to, const void *from, size_t bytes);
void give_number(struct call *call, uint32_t *to, uint32_t number);
int give_text(struct call *call, char *to, uint32_t size, const char *text);

/* Handles are numbers, never addresses: a stale or invented one is refused, and cannot crash anybody. */
handle_t handle_of(int kind, const struct gpu *gpu, const struct instance *instance, const struct compute *compute);
uint32_t number_of(const struct gpu *gpu);
int is_seen(const struct gpu *gpu);
const struct profile *profile_of(const struct gpu *gpu, const struct instance *instance);

/* The next process on what the call is about, from `after` (NULL: the first). `by_mps` as in struct process. */
struct process *next_process(const struct call *call, struct process *after);
int in_cgroup(const struct process *process, const char *folder);
