"""The nouns of the pool. Values are frozen; :class:`Device`, :class:`Lease` and :class:`State` are changed by
:func:`fastgpu_jupyter.core.pool.apply` and by nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from functools import lru_cache
from typing import NamedTuple

from ..errors import InvalidRequest
from ..units import MEMORY_BYTES_MAX, format_memory
from .ask import MEMORY_BYTES_MIN, Size, parse_size

#: A tenant's weight where nobody set one.
WEIGHT_DEFAULT = 100
WAIT_MS_MAX = 30 * 86_400_000


class LeaseState(str, Enum):
    """Where a lease is in its life; ``lifecycle`` has the transitions."""

    WAITING = "waiting"
    PREPARING = "preparing"
    ACTIVE = "active"
    PARKING = "parking"
    PARKED = "parked"
    RESUMING = "resuming"
    DRAINING = "draining"
    ENDED = "ended"


#: States in which a lease holds capacity of its device.
HOLDING = frozenset(
    {LeaseState.PREPARING, LeaseState.ACTIVE, LeaseState.PARKING, LeaseState.RESUMING, LeaseState.DRAINING}
)


class EndReason(str, Enum):
    """Why a lease ended."""

    RELEASED = "released"
    CANCELLED = "cancelled"  #: released while it still waited
    HOLDER_DIED = "holder_died"
    DEVICE_LOST = "device_lost"
    PREPARE_FAILED = "prepare_failed"
    EXPIRED = "expired"  #: it waited longer than its request allows


class PendingReason(str, Enum):
    """Why a request is not granted yet."""

    CAPACITY = "capacity"  #: everything that could serve it is in use
    BEHIND = "behind"  #: what is free is kept for those before it
    QUOTA = "quota"  #: its tenant has all that it may have at once
    HEALTH = "health"  #: what could serve it is faulty
    DRAINED = "drained"  #: what could serve it is being emptied by an administrator


class Priority(IntEnum):
    """Who goes first; a higher class is always served before a lower one, except for who waited too long."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    SYSTEM = 3


class Health(str, Enum):
    """Whether a device may be granted; only a healthy one is."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    FAULTY = "faulty"


class Mechanism(str, Enum):
    """How a logical GPU is carved out of its device."""

    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    SIMULATED = "simulated"


class Enforcement(str, Enum):
    """Who keeps a lease within its memory."""

    HARDWARE = "hardware"
    DRIVER = "driver"
    USERSPACE = "userspace"
    COOPERATIVE = "cooperative"
    NONE = "none"


class Instant(NamedTuple):
    """A moment on both clocks: ``ms`` never jumps and orders and bills; ``wall_ms`` is only shown."""

    ms: int
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Holder:
    """The identity of a process, safe against reuse of its number."""

    boot_id: str
    pid: int
    start_time: int  #: clock ticks after boot, field 22 of /proc/PID/stat
    pidfd_inode: int  #: unique for the life of the system from Linux 6.9; equal for all processes before
    uid: int


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What a driver says about a device."""

    id: str
    index: int  #: for display only: neither stable nor CUDA's
    model: str
    memory_bytes: int
    simulated: bool
    mechanisms: tuple[Mechanism, ...]
    rate_micro_per_hour: int  #: price of the whole device


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

    @property
    def device_ids(self) -> tuple[str, ...]:
        """All devices of which it is a part, or which it is."""
        return (self.device_id, *self.more_device_ids)


@lru_cache(maxsize=4096)
def _read_size(profile: str) -> Size:
    return parse_size(profile)


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """What is asked for: a size as text (see :mod:`.ask`), or an amount of memory of any device."""

    profile: str | None
    memory_bytes: int | None
    kernel_id: str | None
    notebook: str | None
    priority: Priority = Priority.NORMAL
    wait_ms_max: int | None = None  #: longest wait; after it the request ends by itself

    def validate(self) -> None:
        """Raise :class:`InvalidRequest` unless it is well formed."""
        if (self.profile is None) == (self.memory_bytes is None):
            raise InvalidRequest("Ask for a size or for an amount of memory, one of the two.")
        if self.profile is not None:
            parse_size(self.profile)
        if self.memory_bytes is not None and not MEMORY_BYTES_MIN <= self.memory_bytes <= MEMORY_BYTES_MAX:
            raise InvalidRequest(
                f"A lease of {format_memory(max(0, self.memory_bytes))} is not possible; "
                f"ask for {format_memory(MEMORY_BYTES_MIN)} at least and no more than a device has."
            )
        if self.wait_ms_max is not None and not 0 <= self.wait_ms_max <= WAIT_MS_MAX:
            raise InvalidRequest("The longest wait is from 0 to 30 days.")

    @property
    def size(self) -> Size:
        """How much of which devices."""
        return Size(memory_bytes=self.memory_bytes) if self.profile is None else _read_size(self.profile)

    @property
    def name(self) -> str:
        """The size as text."""
        return str(self.size)


@dataclass(slots=True)
class Tenant:
    """Who is billed and limited, and what it has used; made when it is first heard of."""

    weight: int = WEIGHT_DEFAULT
    limit_milli: int | None = None  #: thousandths of devices that it may hold at once; ``None``: no limit
    held_milli: int = 0  #: thousandths of devices that it holds
    used: float = 0.0  #: decayed usage, see :mod:`.fairshare`
    used_until_ms: int = 0


@dataclass(slots=True)
class Device:
    """A physical GPU and what is promised of it."""

    spec: DeviceSpec
    health: Health = Health.HEALTHY
    health_reason: str | None = None
    drained: bool = False  #: an administrator wants it empty: it keeps its leases and gets no new ones
    present: bool = True  #: False once the host no longer shows it while leases still hold it
    promised_bytes: int = 0  #: sum over the leases that hold it
    whole_by: str | None = None  #: the lease that has all of it
    lease_ids: dict[str, None] = field(default_factory=dict)  #: who holds it, in order of grant

    @property
    def free_bytes(self) -> int:
        """Bytes that are promised to nobody; 0 where one lease has the device whole."""
        return 0 if self.whole_by else self.spec.memory_bytes - self.promised_bytes

    @property
    def grantable(self) -> bool:
        """Whether new leases may be placed on it."""
        return self.present and not self.drained and self.health is Health.HEALTHY


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
    end_detail: str | None = None
    active_since_ms: int | None = None  #: set exactly while ACTIVE: the open usage segment
    active_ms: int = 0  #: closed usage segments
    cost_numerator: int = 0  #: closed segments, in micro-units x ms per hour: exact however they are cut


@dataclass(slots=True)
class State:
    """Everything the pool knows that must survive it."""

    devices: dict[str, Device] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)  #: those that ended are forgotten after a while
    queue: dict[str, None] = field(default_factory=dict)  #: ids of waiting leases in order of arrival
    tenants: dict[str, Tenant] = field(default_factory=dict)
    usage_epoch_ms: int = 0  #: the instant to which all tenants' decayed usage is scaled
    boot_id: str = ""
    clock_epoch_ms: int = 0  #: boot clock minus ``Instant.ms``
    last: Instant = Instant(0, 0)  #: of the newest event
    arrivals: int = 0
    generations: int = 0
