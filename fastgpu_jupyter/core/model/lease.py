"""Leases: what is requested, what is granted, who holds it, and why it waits, is parked or ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import NamedTuple

from ...errors import InvalidRequest, Message
from ...units import MEMORY_BYTES_MAX
from .cluster import TIME_LIMIT_MS_MAX, ClusterJob, ClusterRequest
from .device import LogicalGPU
from .idle import NO_STEPS, IdleStep, IdleTimes
from .lifecycle import LeaseState
from .size import MEMORY_BYTES_MIN, Size, parse_size
from .tenant import EPOCH, Instant

#: A request that has seen so many grants to others is overdue: it goes before all that are not.
AGING_GRANTS = 1000
#: With turns (``Policy.quantum_ms``) it is so many for each waiting request, if that is more: a tenant with a small
#: weight is passed over several times by all others, and would otherwise be overdue before tenants served less.
AGING_GRANTS_EACH = 10
#: More grants than any request has to wait for.
GRANTS_TO_OVERTAKE_ALL = 1 << 40
#: The longest wait that a request may ask for.
WAIT_MS_MAX = 30 * 86_400_000


class EndReason(StrEnum):
    """Why a lease ended."""

    RELEASED = "released"
    CANCELLED = "cancelled"  #: released before its first grant
    HOLDER_DIED = "holder_died"
    DEVICE_LOST = "device_lost"
    PREPARE_FAILED = "prepare_failed"
    RESUME_FAILED = "resume_failed"  #: its parked memory could not be brought back to a device
    EXPIRED = "expired"  #: it waited longer than its request allows
    OVER_LIMIT = "over_limit"  #: it kept using more device memory than it had
    IDLE = "idle"  #: nothing used it for as long as the idle policy allows
    CLUSTER_REFUSED = "cluster_refused"  #: the engine refused its job, or can never start it
    ALLOCATION_LOST = "allocation_lost"  #: the engine's job for it is over


class ScrubOutcome(StrEnum):
    """What is known of the device memory that a lease had, before another lease can be on the device."""

    #: The device listed no process of the lease, or has no memory in use; nothing was overwritten.
    GONE = "gone"
    DEVICE_GONE = "device_gone"  #: the host has that device no more
    UNKNOWN = "unknown"  #: processes there cannot be seen, and memory is in use: the device is withheld meanwhile
    OVERWRITTEN = "overwritten"  #: and after that, all available memory of the device was set to zero


class ScrubResult(NamedTuple):
    """The outcome of scrubbing the device memory of a lease."""

    scrub: ScrubOutcome = ScrubOutcome.GONE
    overwritten_bytes: int | None = None  #: set exactly where it was overwritten
    detail: Message | None = None  #: further explanation


#: No process of the lease had memory there, and nothing else is known.
GONE = ScrubResult()


class PendingReason(StrEnum):
    """Why a request is not granted yet."""

    CAPACITY = "capacity"  #: everything that could serve it is in use
    BEHIND = "behind"  #: free capacity is reserved for earlier requests
    PRIORITY = "priority"  #: a request of a higher priority class goes first
    QUOTA = "quota"  #: its tenant has all that it may have at once
    HEALTH = "health"  #: what could serve it is faulty
    BUDGET = "budget"  #: its tenant has spent its money
    RESERVED = "reserved"  #: free capacity is reserved by other tenants, and could not be taken back from this request
    NO_SUCH_DEVICE = "no_such_device"  #: what could serve it has gone
    DRAINED = "drained"  #: what could serve it is drained
    MISSING = "missing"  #: nothing is known of what could serve it
    NOT_RESUMED = "not_resumed"  #: its memory cannot be moved to the GPU at present, and it is tried again
    NOT_PREPARED = "not_prepared"  #: the granted logical GPU could not be prepared, and it is tried again


class Priority(IntEnum):
    """The class of a request; a higher class is served before a lower one, except for overdue requests."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    SYSTEM = 3


class Isolation(StrEnum):
    """What must separate the memory of other leases on the device from this lease's."""

    NONE = "none"  #: whatever the pool has
    LIMITED = "limited"  #: a limit that the driver or the hardware enforces
    HARDWARE = "hardware"  #: a partition of the hardware, or a whole device


class ParkReason(StrEnum):
    """Why a lease is parked."""

    REQUESTED = "requested"  #: by its user
    IDLE = "idle"  #: no cell ran, and a request waited
    PRIORITY = "priority"  #: a request of a higher priority class waited
    GUARANTEE = "guarantee"  #: a request of a tenant below its guarantee waited
    FAIRNESS = "fairness"  #: its turn was over, and a request of a tenant that was served less waited
    BUDGET = "budget"  #: the money for it is spent
    DEFRAGMENTATION = "defragmentation"  #: it goes to another device so that a waiting request fits
    OVER_LIMIT = "over_limit"  #: it uses more device memory than it has
    HEALTH = "health"  #: it goes to another device, because its own is unhealthy or drained
    RESTART = "restart"  #: the same, but without its memory, because its kernel is restarted
    IDLE_POLICY = "idle_policy"  #: nothing used it for as long as the idle policy allows
    AHEAD = "ahead"  #: no cell ran for long, and a parked lease could not have resumed at once


#: Reasons for which a lease is parked only to go on elsewhere.
RELOCATING = frozenset({ParkReason.DEFRAGMENTATION, ParkReason.HEALTH, ParkReason.RESTART})


class Retention(StrEnum):
    """Whether an idle lease may be parked for others."""

    YIELD = "yield"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Holder:
    """The identity of a process, safe against reuse of its number."""

    boot_id: str
    pid: int
    start_time: int  #: clock ticks after boot, field 22 of /proc/PID/stat
    pidfd_inode: int  #: unique for the life of the system from Linux 6.9; equal for all processes before
    uid: int


@lru_cache(maxsize=4096)
def _read_size(profile: str | None, memory_bytes: int | None) -> Size:
    return Size(memory_bytes=memory_bytes) if profile is None else parse_size(profile)


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """What a caller requests: a size as text (see :mod:`.size`), or an amount of memory of any device."""

    profile: str | None
    memory_bytes: int | None
    kernel_id: str | None
    notebook: str | None
    priority: Priority = Priority.NORMAL
    wait_ms_max: int | None = None  #: the longest wait; after it the request expires
    isolation: Isolation = Isolation.NONE
    parkable: bool | None = None  #: whether parking must, or must not, be possible; ``None``: as the device can
    resizable: bool | None = None  #: the same for another size while the kernel runs
    retention: Retention = Retention.YIELD
    cpu_milli: int = 0  #: thousandths of a processor core to allocate on its host
    host_memory_bytes: int = 0
    rate_micro_per_hour_max: int | None = None  #: the highest acceptable rate
    budget_micro: int | None = None  #: what it may cost in all
    idle: IdleTimes = NO_STEPS  #: steps of the idle policy that shall come earlier than those of the pool
    job: str | None = None  #: the shown name of the job that it is for; ``None``: it is for a kernel
    cluster: ClusterRequest | None = None  #: set exactly where an engine is to serve it
    keep_ms: int = 0  #: how long it is kept without a holder once an engine has granted it

    def validate(self) -> None:
        """Check that the request is well formed. Raises :class:`InvalidRequest` otherwise."""
        if (self.profile is None) == (self.memory_bytes is None):
            raise InvalidRequest(Message.of("request.size_or_memory"))
        if self.profile is not None:
            _read_size(self.profile, None)
        if self.memory_bytes is not None and not MEMORY_BYTES_MIN <= self.memory_bytes <= MEMORY_BYTES_MAX:
            raise InvalidRequest(
                Message.of(
                    "request.memory_out_of_range",
                    requested_bytes=max(0, self.memory_bytes),
                    least_bytes=MEMORY_BYTES_MIN,
                )
            )
        if self.wait_ms_max is not None and not 0 <= self.wait_ms_max <= WAIT_MS_MAX:
            raise InvalidRequest(Message.of("request.wait_out_of_range"))
        for name in ("cpu_milli", "host_memory_bytes", "rate_micro_per_hour_max", "budget_micro"):
            if (getattr(self, name) or 0) < 0:
                raise InvalidRequest(Message.of("request.negative", field=name))
        if any(time_ms < 60_000 for time_ms in self.idle.by_step().values()):
            raise InvalidRequest(Message.of("request.idle_too_short", least_ms=60_000))
        if self.budget_micro == 0:
            raise InvalidRequest(Message.of("request.budget_zero"))
        if self.retention is Retention.HOLD and self.parkable:
            raise InvalidRequest(Message.of("request.hold_and_parkable"))
        if not 0 <= self.keep_ms <= TIME_LIMIT_MS_MAX:
            raise InvalidRequest(Message.of("cluster.time_out_of_range", longest_ms=TIME_LIMIT_MS_MAX))
        if self.cluster is not None:
            self.cluster.validate()

    @property
    def size(self) -> Size:
        """How much of which devices it asks for."""
        return _read_size(self.profile, None if self.profile is not None else self.memory_bytes)

    @property
    def name(self) -> str:
        """The size as its shortest text."""
        return str(self.size)


class Requirements(NamedTuple):
    """Everything that decides which devices can serve a request; requests with equal ones are interchangeable."""

    size: Size
    isolation: Isolation = Isolation.NONE
    parkable: bool | None = None
    resizable: bool | None = None
    cpu_milli: int = 0
    host_memory_bytes: int = 0
    rate_micro_per_hour_max: int | None = None
    non_preemptible: bool = False  #: a grant could never be taken back
    unpartitioned: bool = False  #: no partition of a divided device can serve it

    def on_kind(self, model: str, memory_bytes: int) -> Requirements:
        """Return the same for that kind of device only, because no other takes back memory that was on one."""
        size = replace(self.size, models=(model.lower(),), device_memory_min=memory_bytes)
        return self._replace(size=size, unpartitioned=True)


def requirements_of(request: LeaseRequest) -> Requirements:
    """Return which devices can serve a request."""
    return Requirements(
        request.size,
        request.isolation,
        request.parkable,
        request.resizable,
        request.cpu_milli,
        request.host_memory_bytes,
        request.rate_micro_per_hour_max,
        non_preemptible=request.retention is Retention.HOLD or request.parkable is False,
    )


@dataclass(frozen=True, slots=True)
class Image:
    """Where the parked memory of a lease is from."""

    holder: Holder  #: the process whose memory it is; no other can use it
    model: str  #: of the device that it was on: no other kind can take it back
    device_memory_bytes: int
    device_ids: tuple[str, ...] = ()  #: where it was; a driver needs this to bring it back elsewhere


class ClosedSegment(NamedTuple):
    """What of a usage segment that is closed can still be taken back; its end is ``Lease.metered_ms``."""

    from_ms: int
    rate_micro_per_hour: int


@dataclass(slots=True)
class Lease:
    """A right to a logical GPU, from its request to its end."""

    id: str
    tenant: str
    request: LeaseRequest
    holder: Holder
    token_sha256: str
    arrival: int  #: grows with each request
    requested_at: Instant
    grants_before: int = 0  #: grants that the pool had made when it was requested, for its age
    state: LeaseState = LeaseState.WAITING
    version: int = 0  #: grows with each event of this lease
    logical_gpu: LogicalGPU | None = None
    granted_at: Instant | None = None
    ended_at: Instant | None = None
    end_reason: EndReason | None = None
    end_detail: Message | None = None
    scrub: ScrubOutcome | None = None  #: of its device memory, once it has ended or while it is parked
    scrub_bytes: int | None = None  #: see ``ScrubResult``
    scrub_detail: Message | None = None
    active_since_ms: int | None = None  #: set exactly while it is billed: the open usage segment
    metered_ms: int = 0  #: up to here the open segment is counted in the two sums below
    active_ms: int = 0
    cost_numerator: int = 0  #: in micro-units x ms per hour: exact however segments are cut
    billed_micro_per_hour: int = 0  #: what it costs while it is active: its rate, less what is reserved
    covered_milli: int = 0  #: what its tenant's reservations pay of it, in thousandths of devices
    budget_percent: int = 0  #: the last threshold of its own budget that it passed
    busy: bool | None = None  #: whether a cell runs or waits; ``None``: unknown, its process has not reported
    last_activity_ms: int = 0  #: when a cell last began or ended, or the logical GPU last became ready
    park_reason: ParkReason | None = None  #: of the last parking
    park_failure: Message | None = None  #: why the last attempt to park its process failed, until one succeeds
    park_failures: int = 0  #: how many attempts failed in a row
    park_retry_ms: int = 0  #: after a failure, when the pool tries again of its own accord
    over_limit_since_ms: int | None = None  #: set while it is active and known to use more memory than it has
    over_limit_bytes: int = 0  #: what it used at that time
    over_limit_parks: int = 0  #: how often it was parked for that since it was within its limit
    limit_detail: Message | None = None  #: why its limit is enforced by less than its mechanism promised
    fault: Message | None = None  #: a fault that hit its process, until another process holds it
    resume_attempts: int = 0  #: how many attempts in a row to bring its memory back were postponed
    resume_obstacle: Message | None = None  #: why the last one was
    parked_bytes: int = 0  #: host memory that its parked memory takes
    image: Image | None = None  #: set from PARKING until it is back on a device
    waiting_since: Instant = EPOCH
    prepare_attempts: int = 0  #: how many preparations failed in a row
    prepare_failure: Message | None = None  #: why the last one failed
    #: It has another size, and its kernel has not reported yet which libraries follow.
    resize_unacknowledged: bool = False
    resize_deferred: LeaseRequest | None = None  #: with the size that it gets once others on its device are parked
    resize_failure: Message | None = None  #: why the last size that was deferred could not be had
    #: Libraries in its kernel that keep an earlier size until the kernel is restarted.
    libraries_needing_restart: tuple[str, ...] = ()
    cpu_meanwhile: bool = False  #: its cells run without a device until it is ready
    gpu_idle_since_ms: int | None = None  #: since when its device is known not to be used
    gpu_idle_confirmed: bool = False  #: whether this pool manager has seen that
    idle_step: IdleStep | None = None  #: the last step of the idle policy that was taken since it became idle
    idle_step_ms: int = 0  #: when
    idle_warned: IdleStep | None = None  #: the last one that was announced
    idle_warned_ms: int = 0  #: when
    idle_snoozed_until_ms: int = 0  #: no step is taken before
    recorded_active_ms: int = 0  #: what of ``active_ms`` and ``cost_numerator`` the use of its notebook contains
    recorded_cost_numerator: int = 0
    idle_snoozed_ms: int = 0  #: for how long steps were put off since it became idle
    migration_requested: bool = False  #: it goes to another device with the next restart of its kernel
    cluster_job: ClusterJob | None = None  #: set exactly where an engine is to serve it
    orphaned_since_ms: int | None = None  #: since when it is kept without a holder
    #: Of an engine's lease that drains: its job may have ended before that was known. ``None``: nothing is taken back.
    last_segment: ClosedSegment | None = None

    @property
    def has_image(self) -> bool:
        """Whether its process has memory that must come back to a device of the same kind."""
        given_up = self.park_reason is ParkReason.RESTART
        return self.image is not None and self.image.holder == self.holder and not given_up

    @property
    def expires_ms(self) -> int | None:
        """When it expires if it was not granted by then; ``None``: never."""
        most = self.request.wait_ms_max
        # A lease that was granted before has parked memory to lose, so it does not expire.
        return None if most is None or self.granted_at is not None else self.requested_at.ms + most

    @property
    def requirements(self) -> Requirements:
        """Which devices can serve it now."""
        requirements = requirements_of(self.request)
        if self.image is None or not self.has_image:
            return requirements
        return requirements.on_kind(self.image.model, self.image.device_memory_bytes)
