"""Hosts, devices, what their drivers promise, and the logical GPUs that leases have of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ...errors import Message
from .cluster import ClusterAllocation
from .enforcement import Enforcement, LimitScope
from .tenant import Instant


class Health(StrEnum):
    """Whether a device may be granted; only a healthy one is."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    FAULTY = "faulty"


#: What users see in place of the health of a device that is missing.
MISSING = "missing"


class MissingReason(StrEnum):
    """Why nothing is known of a device; a device that is missing may come back as it was."""

    NOT_LISTED = "not_listed"  #: its driver answers, and does not list it
    NO_ANSWER = "no_answer"  #: the driver, or the device, does not answer


class Missing(NamedTuple):
    """Since when nothing is known of a device, in the pool's time."""

    reason: MissingReason
    since: Instant
    reason_since_ms: int  #: when the reason became this one, or the pool manager started again


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

    code: str  #: the vendor's name for it
    severity: FaultSeverity
    scope: FaultScope
    message: Message  #: continues "your code" where the scope is a process, else "the GPU"
    advice: Message | None = None  #: how to find the cause


class Mechanism(StrEnum):
    """How a device serves a logical GPU."""

    EXCLUSIVE = "exclusive"
    MIG = "mig"
    MPS = "mps"
    SHARED = "shared"
    SIMULATED = "simulated"
    CLUSTER = "cluster"  #: an engine allocated it on another host


class PartitionStyle(StrEnum):
    """Whether the hardware of a device can be divided, and when."""

    NONE = "none"
    WHOLE_DEVICE = "whole_device"  #: by a mode of the device that is switched while no lease is on it
    DYNAMIC = "dynamic"  #: partitions are created and destroyed while others are in use


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A machine, and what leases may take of it beside devices."""

    id: str
    cpu_milli: int  #: thousandths of a processor core
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class MechanismCapability:
    """A mechanism of a device, and what it promises to a lease."""

    mechanism: Mechanism
    enforcement: Enforcement
    scope: LimitScope = LimitScope.LEASE
    resizable: bool = False  #: the limit can change while processes run
    parkable: bool = True  #: parking works with this mechanism, if the device can park at all


@dataclass(frozen=True, slots=True)
class PartitionProfile:
    """A way in which the hardware divides a device, as its driver reports it."""

    name: str  #: as users write it, in lower case
    memory_bytes: int  #: what a program sees
    #: Thousandths of the device that are counted and billed: the larger of its fractions of memory slots and of
    #: compute, rounded down, because what it takes of either is not available to others.
    milli: int
    length: int  #: number of adjacent memory slots
    starts: tuple[int, ...]  #: the slots at which it may begin
    at_most: int | None = None  #: how many a device may have at once; ``None``: as many as fit


@dataclass(frozen=True, slots=True, order=True)
class ExistingPartition:
    """A partition that the pool did not make: it is leased as it is, and never changed or destroyed."""

    profile: str
    start: int
    usable: bool = True  #: False where it cannot be leased and only takes space


@dataclass(frozen=True, slots=True)
class Partition:
    """The partition of a divided device that a lease has."""

    profile: str
    start: int
    milli: int  #: see ``PartitionProfile.milli``
    preexisting: bool = False  #: the pool did not make it, and does not destroy it


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What a driver reports about a device."""

    id: str
    index: int  #: for display only: not stable, and not the number that programs use
    model: str
    memory_bytes: int
    simulated: bool
    mechanisms: tuple[Mechanism, ...]
    rate_micro_per_hour: int  #: of the whole device
    host_id: str = ""
    parkable: bool = False  #: whether the memory of leases can be moved to the host and back
    partition: PartitionStyle = PartitionStyle.NONE
    #: What the mechanisms promise, the preferred one first; empty where the driver reports nothing: then the usual.
    capabilities: tuple[MechanismCapability, ...] = ()
    #: The partitions that the hardware can have now; empty where it is not divided.
    profiles: tuple[PartitionProfile, ...] = ()
    existing_partitions: tuple[ExistingPartition, ...] = ()


@dataclass(frozen=True, slots=True)
class LogicalGPU:
    """What one kernel sees: devices or a partition, a memory limit and a mechanism."""

    device_id: str
    memory_bytes: int  #: 0 where an engine allocated it and does not say
    whole: bool  #: no other lease may have any part of the device
    mechanism: Mechanism
    enforcement: Enforcement
    rate_micro_per_hour: int
    generation: int  #: grows with each grant; an older one is never valid again
    more_device_ids: tuple[str, ...] = ()  #: the other devices of a lease of several whole ones
    host_id: str = ""
    scope: LimitScope = LimitScope.LEASE
    #: What the driver made for it, in the driver's own terms (the id of a partition, say); only the driver reads it.
    driver_handle: str = ""
    partition: Partition | None = None  #: set exactly where the hardware divides the device
    owner_uid: int | None = None  #: whose processes it serves; set exactly where its mechanism serves one user only
    cluster: ClusterAllocation | None = None  #: set exactly where an engine allocated it

    @property
    def device_ids(self) -> tuple[str, ...]:
        """All devices of the logical GPU."""
        return (self.device_id, *self.more_device_ids)

    @property
    def local_device_ids(self) -> tuple[str, ...]:
        """The devices that the pool has a record of: none where an engine allocated them."""
        return self.device_ids if self.cluster is None else ()

    def milli_of(self, device_memory_bytes: int) -> int:
        """Return how many thousandths of devices it takes, where each device has ``device_memory_bytes``."""
        if self.partition is not None:
            return self.partition.milli
        if self.cluster is not None:
            return self.cluster.milli
        return 1000 * len(self.device_ids) if self.whole else -(-self.memory_bytes * 1000 // device_memory_bytes)


@dataclass(slots=True)
class Host:
    """A machine, and what leases hold of it."""

    spec: HostSpec
    held_cpu_milli: int = 0
    held_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Unaccounted:
    """Why memory of a device counts as in use though no visible process has it: nothing is granted there."""

    reason: Message
    in_use_bytes: int | None = None  #: without a visible owner, when it was last measured
    lease_id: str | None = None  #: the lease that ended while its memory may still be there


@dataclass(slots=True)
class Device:
    """A physical GPU, and what leases hold of it."""

    spec: DeviceSpec
    health: Health = Health.HEALTHY
    health_reason: Message | None = None
    fault_code: str | None = None  #: of the fault for which it left service, until an administrator restores it
    drained: bool = False  #: it keeps its leases and gets no new ones
    scrub_pending: Message | None = None  #: why memory that a lease left there is not overwritten yet
    #: Memory in use there without a visible owner while no lease was on it: that of a display, or of the driver.
    baseline_bytes: int | None = None
    unaccounted: Unaccounted | None = None  #: set while more than that is in use, or may be
    present: bool = True  #: False once it is gone while leases still hold it
    missing: Missing | None = None  #: set while it is present and nothing is known of it
    promised_bytes: int = 0  #: sum over the leases that hold it
    releasing_bytes: int = 0  #: of those, what is being freed
    whole_lease_id: str | None = None  #: the lease that has all of it
    lease_ids: dict[str, None] = field(default_factory=dict)  #: the leases that hold it, in order of grant
    partitions: dict[str, Partition] = field(default_factory=dict)  #: of a divided device, by lease

    @property
    def free_bytes(self) -> int:
        """Bytes that no lease holds; 0 where one lease has the whole device."""
        return 0 if self.whole_lease_id else self.spec.memory_bytes - self.promised_bytes

    @property
    def grantable(self) -> bool:
        """Whether new leases may be placed on it."""
        in_service = self.present and self.missing is None and not self.drained
        accounted = self.scrub_pending is None and self.unaccounted is None
        return in_service and accounted and self.health is Health.HEALTHY

    @property
    def reported_health(self) -> str:
        """Its health for users, or :data:`MISSING`.

        Memory to be overwritten, or of no visible process, makes a healthy device suspect.
        """
        if self.missing is not None:
            return MISSING
        withheld = self.scrub_pending is not None or self.unaccounted is not None
        return (Health.SUSPECT if withheld and self.health is Health.HEALTHY else self.health).value

    @property
    def health_message(self) -> Message | None:
        """Why it is not healthy for users."""
        unaccounted = None if self.unaccounted is None else self.unaccounted.reason
        return self.health_reason or self.scrub_pending or unaccounted
