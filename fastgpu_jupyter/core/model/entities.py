"""The nouns of the pool. Values are frozen; :class:`Device`, :class:`Lease` and :class:`State` are changed by
:func:`fastgpu_jupyter.core.pool.apply` and by nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import NamedTuple

from ...errors import InvalidRequest, Message
from ...units import MEMORY_BYTES_MAX
from .lifecycle import LeaseState
from .size import MEMORY_BYTES_MIN, Size, parse_size

#: A tenant's weight where nobody set one.
WEIGHT_DEFAULT = 100
#: A request that has seen so many grants to others goes before everybody else.
AGING_GRANTS = 1000
#: Where leases take turns it is so many for each that waits, if that is more: whoever has a small weight is passed over
#: by all others, several times, before its turn comes, and would otherwise go before those who deserve more.
AGING_GRANTS_EACH = 10
#: More grants than anybody has to wait for.
GRANTS_TO_OVERTAKE_ALL = 1 << 40
WAIT_MS_MAX = 30 * 86_400_000
#: Requests that are remembered for what is usual; at that many, the older half is forgotten.
RECENT_REQUESTS_MAX = 2048


class EndReason(StrEnum):
    """Why a lease ended."""

    RELEASED = "released"
    CANCELLED = "cancelled"  #: released while it still waited
    HOLDER_DIED = "holder_died"
    DEVICE_LOST = "device_lost"
    PREPARE_FAILED = "prepare_failed"
    RESUME_FAILED = "resume_failed"  #: its parked memory could not be brought back to a device
    EXPIRED = "expired"  #: it waited longer than its request allows
    OVER_LIMIT = "over_limit"  #: it used more device memory than it had, and went on to


class ScrubOutcome(StrEnum):
    """What is known of a lease's device memory, before anybody else's lease can be on the device."""

    GONE = "gone"  #: the device listed its processes, and none of the lease was among them; nothing was overwritten
    DEVICE_GONE = "device_gone"  #: the host has that device no more
    OVERWRITTEN = "overwritten"  #: and after that, all memory of the device that could be had was set to zero


class ScrubResult(NamedTuple):
    """What became of the memory that a lease had on its device."""

    scrub: ScrubOutcome = ScrubOutcome.GONE
    overwritten_bytes: int | None = None  #: set exactly where it was overwritten
    detail: Message | None = None  #: what is to be known beside that


#: No process had any there, and nothing else is known.
GONE = ScrubResult()


class PendingReason(StrEnum):
    """Why a request is not granted yet."""

    CAPACITY = "capacity"  #: everything that could serve it is in use
    BEHIND = "behind"  #: what is free is kept for those before it
    PRIORITY = "priority"  #: somebody of a higher priority class goes first
    QUOTA = "quota"  #: its tenant has all that it may have at once
    HEALTH = "health"  #: what could serve it is faulty
    BUDGET = "budget"  #: its tenant has spent its money
    RESERVED = "reserved"  #: what is free is another tenant's, and could not be taken back from this request
    NO_SUCH_DEVICE = "no_such_device"  #: what could serve it has gone
    DRAINED = "drained"  #: what could serve it is being emptied by an administrator
    NOT_PREPARED = "not_prepared"  #: what it was granted could not be made, and it is tried again


class Priority(IntEnum):
    """Who goes first; a higher class is always served before a lower one, except for who waited too long."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    SYSTEM = 3


class Isolation(StrEnum):
    """What must keep other leases of a device away from this one's memory."""

    NONE = "none"  #: whatever the pool has
    LIMITED = "limited"  #: a limit that the driver or the hardware enforces
    HARDWARE = "hardware"  #: a partition of the hardware, or a whole device


class ParkReason(StrEnum):
    """Why a lease is parked."""

    REQUESTED = "requested"  #: its user wanted it
    IDLE = "idle"  #: no cell ran, and somebody waits
    PRIORITY = "priority"  #: somebody of a higher priority class waits
    GUARANTEE = "guarantee"  #: somebody waits who has less than is guaranteed
    FAIRNESS = "fairness"  #: its turn is over, and somebody waits who has had less
    BUDGET = "budget"  #: the money for it is spent
    DEFRAGMENTATION = "defragmentation"  #: it goes to another device, so that one that waits fits where it was
    OVER_LIMIT = "over_limit"  #: it uses more device memory than it has
    HEALTH = "health"  #: it goes to another device, because its own is not well
    RESTART = "restart"  #: so, but without its memory, because its kernel is restarted


#: Reasons for which a lease is parked only to go on elsewhere.
RELOCATING = frozenset({ParkReason.DEFRAGMENTATION, ParkReason.HEALTH, ParkReason.RESTART})


class Retention(StrEnum):
    """Whether an idle lease may be parked for others."""

    YIELD = "yield"
    HOLD = "hold"


class BudgetPolicy(StrEnum):
    """What happens once a tenant has spent its budget of a month."""

    WARN = "warn"  #: it is told
    STOP = "stop"  #: nothing more is granted to it
    PARK = "park"  #: nor does it keep what can be parked


class OverLimit(StrEnum):
    """What happens to a lease that goes on to use more device memory than it has."""

    WARN = "warn"  #: its user is told
    PARK = "park"  #: and it is parked, where it can be
    REVOKE = "revoke"  #: and it is ended, where it cannot be parked or that did not help


class Plan(StrEnum):
    """For how long capacity is reserved."""

    MONTH = "month"
    YEAR = "year"


class Health(StrEnum):
    """Whether a device may be granted; only a healthy one is."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    FAULTY = "faulty"


class FaultScope(StrEnum):
    """What a device fault is attributed to."""

    PROCESS = "process"  #: a program on the device; the device itself works
    DEVICE = "device"  #: the device itself


class FaultSeverity(StrEnum):
    """What a device fault means for the device."""

    MINOR = "minor"  #: it stays in service
    SUSPECT = "suspect"  #: no new leases; those on it can go on
    FAULTY = "faulty"  #: no new leases; results of those on it cannot be trusted
    LOST = "lost"  #: it is gone, with the memory of every lease on it


class DeviceFault(NamedTuple):
    """An error that a driver reported for a device."""

    code: str  #: the vendor's short name for it
    severity: FaultSeverity
    scope: FaultScope
    message: Message  #: continues "your code" where the scope is a process, else "the GPU"
    advice: Message | None = None  #: how to find the cause


class Mechanism(StrEnum):
    """How a logical GPU is carved out of its device."""

    EXCLUSIVE = "exclusive"
    MIG = "mig"
    MPS = "mps"
    SHARED = "shared"
    SIMULATED = "simulated"


class Enforcement(StrEnum):
    """Who keeps a lease within its memory."""

    HARDWARE = "hardware"
    DRIVER = "driver"
    USERSPACE = "userspace"
    COOPERATIVE = "cooperative"
    NONE = "none"


class LimitScope(StrEnum):
    """What a limit of memory is a limit of."""

    LEASE = "lease"  #: all processes of the lease together
    PROCESS = "process"  #: each of them by itself


class PartitionStyle(StrEnum):
    """Whether the hardware can be divided, and when."""

    NONE = "none"
    WHOLE_DEVICE = "whole_device"  #: by a mode that all leases of the device share, while it is idle
    DYNAMIC = "dynamic"  #: parts come and go while others are in use


class Instant(NamedTuple):
    """A moment on both clocks: ``ms`` never jumps and orders and bills; ``wall_ms`` is only shown."""

    ms: int
    wall_ms: int


class Month(NamedTuple):
    """A month of UTC on the wall clock."""

    number: int  #: 12 times the year, plus 0 for January
    begins_wall_ms: int
    ends_wall_ms: int  #: the first millisecond of the next one


#: Before the first event.
NO_MONTH = Month(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Holder:
    """The identity of a process, safe against reuse of its number."""

    boot_id: str
    pid: int
    start_time: int  #: clock ticks after boot, field 22 of /proc/PID/stat
    pidfd_inode: int  #: unique for the life of the system from Linux 6.9; equal for all processes before
    uid: int


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A machine, and what of it leases may ask for beside devices."""

    id: str
    cpu_milli: int  #: thousandths of a processor core
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class MechanismCapability:
    """A mechanism of a device, and what is promised to a lease that it serves."""

    mechanism: Mechanism
    enforcement: Enforcement  #: who keeps the lease within its memory
    scope: LimitScope = LimitScope.LEASE
    resizable: bool = False  #: its limit can be another one while its processes run
    parkable: bool = True  #: it does not stand in the way of parking, where the device can park


@dataclass(frozen=True, slots=True)
class PartitionProfile:
    """A way in which the hardware divides a device, as its driver says."""

    name: str  #: as people write it, in lower case
    memory_bytes: int  #: what a program sees
    #: Thousandths of the device that are counted and billed: the larger of its shares of memory slots and of compute,
    #: rounded down, because what it takes of either is not left to others.
    milli: int
    length: int  #: slots of memory in a row
    starts: tuple[int, ...]  #: where it may begin
    at_most: int | None = None  #: how many a device may have at once; ``None``: as many as fit


@dataclass(frozen=True, slots=True, order=True)
class ExistingPartition:
    """A partition that is there and that the pool did not make: it is leased as it is and never changed."""

    profile: str
    start: int
    usable: bool = True  #: False where it cannot be leased, having no compute instance or several: it is in the way


@dataclass(frozen=True, slots=True)
class Partition:
    """What a lease has of a divided device."""

    profile: str
    start: int
    milli: int  #: see ``PartitionProfile.milli``
    preexisting: bool = False  #: somebody else made it: it is not destroyed when the lease is over


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What a driver says about a device."""

    id: str
    index: int  #: for display only: not stable, and not the number that programs use
    model: str
    memory_bytes: int
    simulated: bool
    mechanisms: tuple[Mechanism, ...]
    rate_micro_per_hour: int  #: price of the whole device
    host_id: str = ""
    parkable: bool = False  #: whether a lease's memory on it can be moved to the host's and back
    partition: PartitionStyle = PartitionStyle.NONE
    #: What its mechanisms promise, the preferred one first; empty where nothing is said: then what is usual for each.
    capabilities: tuple[MechanismCapability, ...] = ()
    #: How its hardware divides it now; empty where it does not: then it has no partitions.
    profiles: tuple[PartitionProfile, ...] = ()
    existing_partitions: tuple[ExistingPartition, ...] = ()  #: partitions that the pool did not make


@dataclass(frozen=True, slots=True)
class LogicalGPU:
    """What one kernel sees."""

    device_id: str
    memory_bytes: int
    whole: bool  #: nobody else may have any part of the device
    mechanism: Mechanism
    enforcement: Enforcement
    rate_micro_per_hour: int
    generation: int  #: grows with each grant; an older one is never valid again
    more_device_ids: tuple[str, ...] = ()  #: the other devices of a lease of several whole ones
    host_id: str = ""
    scope: LimitScope = LimitScope.LEASE
    #: What the driver made for it, in the driver's own words (a partition's id, say); nobody else reads it.
    driver_handle: str = ""
    partition: Partition | None = None  #: set exactly where the hardware divides its device
    owner_uid: int | None = None  #: whose processes it serves; set exactly where its mechanism serves one user only

    @property
    def device_ids(self) -> tuple[str, ...]:
        """All devices of which it is a part, or which it is."""
        return (self.device_id, *self.more_device_ids)

    def milli_of(self, device_memory_bytes: int) -> int:
        """Thousandths of devices that it takes, where each has so much memory."""
        if self.partition is not None:
            return self.partition.milli
        return 1000 * len(self.device_ids) if self.whole else -(-self.memory_bytes * 1000 // device_memory_bytes)


@lru_cache(maxsize=4096)
def _read_size(profile: str | None, memory_bytes: int | None) -> Size:
    return Size(memory_bytes=memory_bytes) if profile is None else parse_size(profile)


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """What is asked for: a size as text (see :mod:`.ask`), or an amount of memory of any device."""

    profile: str | None
    memory_bytes: int | None
    kernel_id: str | None
    notebook: str | None
    priority: Priority = Priority.NORMAL
    wait_ms_max: int | None = None  #: longest wait; after it the request ends by itself
    isolation: Isolation = Isolation.NONE
    parkable: bool | None = None  #: must be, must not be; ``None``: whatever its device can
    resizable: bool | None = None  #: likewise, while its kernel runs
    retention: Retention = Retention.YIELD
    cpu_milli: int = 0  #: thousandths of a processor core that it takes of its host's books
    host_memory_bytes: int = 0
    rate_micro_per_hour_max: int | None = None  #: nothing dearer than this
    budget_micro: int | None = None  #: what it may cost in all

    def validate(self) -> None:
        """Raise :class:`InvalidRequest` unless it is well formed."""
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
        if self.budget_micro == 0:
            raise InvalidRequest(Message.of("request.budget_zero"))
        if self.retention is Retention.HOLD and self.parkable:
            raise InvalidRequest(Message.of("request.hold_and_parkable"))

    @property
    def size(self) -> Size:
        """How much of which devices."""
        return _read_size(self.profile, None if self.profile is not None else self.memory_bytes)

    @property
    def name(self) -> str:
        """The size as text."""
        return str(self.size)


class Requirements(NamedTuple):
    """Everything that decides which devices will do: what serves one of two equal wants serves the other."""

    size: Size
    isolation: Isolation = Isolation.NONE
    parkable: bool | None = None
    resizable: bool | None = None
    cpu_milli: int = 0
    host_memory_bytes: int = 0
    rate_micro_per_hour_max: int | None = None
    non_preemptible: bool = False  #: whether it could never be taken back, once granted
    unpartitioned: bool = False  #: no partition of a device that the hardware divides

    def on_kind(self, model: str, memory_bytes: int) -> Requirements:
        """The same on that kind of device only: no other takes back memory that was on one."""
        size = replace(self.size, models=(model.lower(),), device_memory_min=memory_bytes)
        return self._replace(size=size, unpartitioned=True)


def requirements_of(request: LeaseRequest) -> Requirements:
    """Which devices will do for a request."""
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
    """The device memory of a lease while it is parked."""

    holder: Holder  #: whose memory it is; worthless to any other process
    model: str  #: of the device that it was on: no other kind can take it back
    device_memory_bytes: int
    device_ids: tuple[str, ...] = ()  #: where it was: a driver must say so to bring it back elsewhere


@dataclass(frozen=True, slots=True)
class Policy:
    """When the pool parks leases of its own accord; a time that is ``None`` means never."""

    idle_ms: int | None = 5000  #: one without a running cell for so long, where somebody waits
    quantum_ms: int | None = None  #: one that computes for so long, where somebody waits who has had less
    parked_bytes_max: int | None = None  #: host memory that parked leases may take in all
    defragments: bool = False  #: whether leases are moved so that one that waits fits
    over_limit: OverLimit = OverLimit.PARK
    over_limit_grace_ms: int = 30_000  #: between two steps


@dataclass(frozen=True, slots=True)
class Reservation:
    """Capacity that is held for a tenant and paid for whether it is used or not."""

    id: str
    tenant: str
    milli: int  #: thousandths of devices
    model: str | None  #: of such devices, as in a request; ``None``: of any
    plan: Plan
    rate_micro_per_hour: int  #: at its discount, fixed when it was made
    start_wall_ms: int
    end_wall_ms: int
    began_wall_ms: int | None = None  #: it is paid for from here
    ended: bool = False

    @property
    def runs(self) -> bool:
        """Whether it holds capacity now."""
        return self.began_wall_ms is not None and not self.ended


@dataclass(slots=True)
class Tenant:
    """Who is billed and limited, and what it has used; made when it is first heard of. A group has the same books."""

    weight: int = WEIGHT_DEFAULT
    group: str | None = None
    guaranteed_milli: int = 0  #: thousandths of devices that it gets before, and from, those who have theirs
    limit_milli: int | None = None  #: thousandths of devices that it may hold at once; ``None``: no limit
    held_milli: int = 0  #: thousandths of devices that it holds
    held_cpu_milli: int = 0
    held_memory_bytes: int = 0
    share_milli: int = 0  #: its dominant share, as thousandths of devices
    used: float = 0.0  #: decayed usage, see :mod:`.fairshare`
    used_until_ms: int = 0
    served: float = 0.0  #: what counts where turns are taken, see :mod:`.fairshare`
    served_until_ms: int = 0  #: of the time in which anybody waited
    waiting: int = 0  #: tickets in the queue
    leases: int = 0  #: of its own that have not ended; a group's are not counted
    reserved_milli: int = 0  #: thousandths of devices that its reservations hold now
    budget_micro: int | None = None  #: what it may spend in a month; ``None``: no budget
    budget_policy: BudgetPolicy = BudgetPolicy.WARN
    budget_percent: int = 0  #: of its budget, the last threshold that it passed this month
    active: dict[str, None] = field(default_factory=dict)  #: its leases with an open usage segment
    billed_micro_per_hour: int = 0  #: what those cost together, by use
    spent: dict[int, int] = field(default_factory=dict)  #: by month, by use, in micro-units x ms per hour
    spent_until_ms: int = 0


@dataclass(slots=True)
class Host:
    """A machine and what is promised of it."""

    spec: HostSpec
    held_cpu_milli: int = 0
    held_memory_bytes: int = 0


@dataclass(slots=True)
class Device:
    """A physical GPU and what is promised of it."""

    spec: DeviceSpec
    health: Health = Health.HEALTHY
    health_reason: Message | None = None
    fault_code: str | None = None  #: of the fault for which it left service, until an administrator restores it
    drained: bool = False  #: an administrator wants it empty: it keeps its leases and gets no new ones
    scrub_pending: Message | None = None  #: why memory that a lease left there is not overwritten yet
    present: bool = True  #: False once the host no longer shows it while leases still hold it
    promised_bytes: int = 0  #: sum over the leases that hold it
    releasing_bytes: int = 0  #: of those, what is being given back
    whole_lease_id: str | None = None  #: the lease that has all of it
    lease_ids: dict[str, None] = field(default_factory=dict)  #: who holds it, in order of grant
    partitions: dict[str, Partition] = field(default_factory=dict)  #: of a divided device, who holds which

    @property
    def free_bytes(self) -> int:
        """Bytes that are promised to nobody; 0 where one lease has the device whole."""
        return 0 if self.whole_lease_id else self.spec.memory_bytes - self.promised_bytes

    @property
    def grantable(self) -> bool:
        """Whether new leases may be placed on it."""
        return self.present and not self.drained and self.scrub_pending is None and self.health is Health.HEALTHY

    @property
    def reported_health(self) -> Health:
        """Its health as people are told it: memory that is still to be overwritten makes a healthy one suspect."""
        return Health.SUSPECT if self.scrub_pending and self.health is Health.HEALTHY else self.health


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
    grants_before: int = 0  #: grants that the pool had made when it was requested: how it ages
    state: LeaseState = LeaseState.WAITING
    version: int = 0  #: grows with each event of this lease
    logical_gpu: LogicalGPU | None = None
    granted_at: Instant | None = None
    ended_at: Instant | None = None
    end_reason: EndReason | None = None
    end_detail: Message | None = None
    scrub: ScrubOutcome | None = None  #: of what it had on its device, once it has ended or while it is parked
    scrub_bytes: int | None = None  #: see ``ScrubResult``
    scrub_detail: Message | None = None
    active_since_ms: int | None = None  #: set exactly while ACTIVE: the open usage segment
    metered_ms: int = 0  #: up to here the open segment is in the two sums below
    active_ms: int = 0
    cost_numerator: int = 0  #: in micro-units x ms per hour: exact however segments are cut
    billed_micro_per_hour: int = 0  #: what it costs while it is active: its rate, less what is reserved
    covered_milli: int = 0  #: what its tenant's reservations pay of it, in thousandths of devices
    budget_percent: int = 0  #: of its own budget, the last threshold that it passed
    reports_activity: bool = False  #: its kernel says when cells run; of any other nobody knows whether it is idle
    busy: bool = False  #: a cell runs
    last_activity_ms: int = 0  #: when a cell last began or ended, or the logical GPU last became ready
    park_reason: ParkReason | None = None  #: of the last time
    park_failure: Message | None = None  #: why it could not be parked when that was tried
    over_limit_since_ms: int | None = None  #: set while it is active and known to use more memory than it has
    over_limit_bytes: int = 0  #: what it used then
    over_limit_parks: int = 0  #: how often it was parked for that since it was within its limit
    limit_detail: Message | None = None  #: where its memory is kept by somebody else than was offered: why
    fault: Message | None = None  #: what its user is told of a fault that hit its process, until another one holds it
    parked_bytes: int = 0  #: host memory that its parked memory takes, or may take
    image: Image | None = None  #: set from PARKING until it is back on a device
    waiting_since: Instant = Instant(0, 0)
    prepare_attempts: int = 0  #: how often in a row what it was granted could not be made
    prepare_failure: Message | None = None  #: why not, the last time
    resize_unacknowledged: bool = (
        False  #: it has another size, and its kernel has not said yet that its libraries were told
    )
    libraries_needing_restart: tuple[
        str, ...
    ] = ()  #: libraries in its kernel that keep an earlier size until that is started anew
    migration_requested: bool = False  #: its user wants it on another device once its kernel is restarted

    @property
    def has_image(self) -> bool:
        """Whether its process has memory that must come back to a device of the same kind."""
        left = self.park_reason is ParkReason.RESTART  # with nothing
        return self.image is not None and self.image.holder == self.holder and not left

    @property
    def expires_ms(self) -> int | None:
        """When it gives up, if it still waits by then for the first time; ``None``: never."""
        most = self.request.wait_ms_max
        # One that was parked has more to lose than its place.
        return None if most is None or self.granted_at is not None else self.requested_at.ms + most

    @property
    def requirements(self) -> Requirements:
        """Which devices will do for it now."""
        requirements = requirements_of(self.request)
        if self.image is None or not self.has_image:
            return requirements
        return requirements.on_kind(self.image.model, self.image.device_memory_bytes)


@dataclass(slots=True)
class State:
    """Everything the pool knows that must survive it."""

    hosts: dict[str, Host] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)  #: those that ended are forgotten after a while
    queue: dict[str, None] = field(default_factory=dict)  #: ids of waiting leases in order of arrival
    tenants: dict[str, Tenant] = field(default_factory=dict)
    groups: dict[str, Tenant] = field(default_factory=dict)
    cpu_milli: int = 0  #: of all hosts
    memory_bytes: int = 0  #: of all hosts
    policy: Policy = Policy()
    parked_bytes: int = 0  #: sum over the leases
    served: float = 0.0  #: of the tenant that was granted something last, when it was: the turns' clock
    contended_ms: int = 0  #: how long anybody waited, in all
    contended_since_ms: int | None = None  #: set exactly while anybody waits
    reservations: dict[str, Reservation] = field(default_factory=dict)  #: those that ended are forgotten after a while
    month: Month = NO_MONTH  #: to which what is used is counted now
    #: What was asked for lately, the newest last: size, processors, host memory. :data:`RECENT_REQUESTS_MAX` at most.
    recent_requests: list[tuple[str, int, int]] = field(default_factory=list)
    ended: dict[str, None] = field(default_factory=dict)  #: ids of leases that ended, in that order
    expiring: dict[str, int] = field(default_factory=dict)  #: when leases that wait for so long at most give up, ms
    budgeted: dict[str, None] = field(default_factory=dict)  #: ids of leases that have a budget and are not over
    suspect: dict[str, None] = field(default_factory=dict)  #: ids of devices that are suspect: leases may leave them
    usage_epoch_ms: int = 0  #: the instant to which all tenants' decayed usage is scaled
    boot_id: str = ""
    clock_epoch_ms: int = 0  #: boot clock minus ``Instant.ms``
    last: Instant = Instant(0, 0)  #: of the newest event
    arrivals: int = 0
    generations: int = 0

    def __post_init__(self) -> None:
        # A snapshot of an earlier version has leases without these lists of them.
        if self.leases and not self.ended:
            over = [lease for lease in self.leases.values() if lease.ended_at is not None]
            self.ended = {lease.id: None for lease in sorted(over, key=lambda lease: lease.ended_at or self.last)}
        if self.queue and not self.expiring:
            waiting = (self.leases[lease_id] for lease_id in self.queue)
            self.expiring = {lease.id: expiry for lease in waiting if (expiry := lease.expires_ms) is not None}
