"""Facts that are journalled. An event is never changed once released: old journals must replay for ever.

Events carry no time; the journal's record does, once for all events of a command.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import Message
from .entities import (
    BudgetPolicy,
    DeviceSpec,
    EndReason,
    Enforcement,
    Health,
    Holder,
    HostSpec,
    LeaseRequest,
    LogicalGPU,
    ParkReason,
    Plan,
    Policy,
    Retention,
    ScrubOutcome,
)


@dataclass(frozen=True, slots=True)
class PoolStarted:
    """A pool manager began to serve; its boot clock minus ``clock_epoch_ms`` is the pool's time."""

    boot_id: str
    clock_epoch_ms: int


@dataclass(frozen=True, slots=True)
class HostAppeared:
    """A machine is there, for the first time or with other properties."""

    spec: HostSpec


@dataclass(frozen=True, slots=True)
class DeviceAppeared:
    """The host shows a device, for the first time or with other properties."""

    spec: DeviceSpec


@dataclass(frozen=True, slots=True)
class DeviceVanished:
    """The host no longer shows a device."""

    device_id: str


@dataclass(frozen=True, slots=True)
class DeviceHealthChanged:
    """A device became healthy, suspect or faulty."""

    device_id: str
    health: Health
    reason: Message | None
    fault_code: str | None = None  #: of the fault that changed it, until an administrator restores it


@dataclass(frozen=True, slots=True)
class DeviceDrained:
    """An administrator took a device out of service, or put it back."""

    device_id: str
    drained: bool


@dataclass(frozen=True, slots=True)
class DeviceScrubPendingSet:
    """Memory that a lease left on a device could not be overwritten; without a reason it was, or need not be."""

    device_id: str
    reason: Message | None


@dataclass(frozen=True, slots=True)
class TenantSet:
    """A tenant's entitlement was set."""

    tenant: str
    weight: int
    limit_milli: int | None
    guaranteed_milli: int = 0
    group: str | None = None


@dataclass(frozen=True, slots=True)
class GroupSet:
    """A group's entitlement was set."""

    group: str
    weight: int
    limit_milli: int | None
    guaranteed_milli: int


@dataclass(frozen=True, slots=True)
class PolicySet:
    """When the pool parks of its own accord was set."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class BudgetSet:
    """What a tenant may spend in a month was set, and what happens after."""

    tenant: str
    budget_micro: int | None
    policy: BudgetPolicy


@dataclass(frozen=True, slots=True)
class BudgetThresholdPassed:
    """A tenant has spent so much of this month's budget: it is told."""

    tenant: str
    percent: int


@dataclass(frozen=True, slots=True)
class MonthBegan:
    """Another month is current, like ``2026-11``; the time of the record says since when."""

    month: str


@dataclass(frozen=True, slots=True)
class ReservationMade:
    """Capacity will be held for a tenant, at a price that is fixed."""

    reservation_id: str
    tenant: str
    milli: int
    model: str | None
    plan: Plan
    rate_micro_per_hour: int
    start_wall_ms: int
    end_wall_ms: int


@dataclass(frozen=True, slots=True)
class ReservationBegan:
    """A reservation holds capacity, and is paid for, from here."""

    reservation_id: str


@dataclass(frozen=True, slots=True)
class ReservationEnded:
    """A reservation holds nothing any more; it is paid for up to ``end_wall_ms``."""

    reservation_id: str
    end_wall_ms: int


@dataclass(frozen=True, slots=True)
class LeaseBudgetSet:
    """What a lease may cost in all was set."""

    lease_id: str
    budget_micro: int | None


@dataclass(frozen=True, slots=True)
class LeaseBudgetThresholdPassed:
    """A lease has cost so much of its budget: its user is told."""

    lease_id: str
    percent: int


@dataclass(frozen=True, slots=True)
class LeaseRequested:
    """A lease waits."""

    lease_id: str
    tenant: str
    request: LeaseRequest
    holder: Holder
    token_sha256: str


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """Capacity is promised; the logical GPU is being made (the *Intended* of its preparation)."""

    lease_id: str
    logical_gpu: LogicalGPU


@dataclass(frozen=True, slots=True)
class LeasePrepared:
    """The logical GPU is ready (the *Done* of its preparation); its usage is billed from here."""

    lease_id: str
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``


@dataclass(frozen=True, slots=True)
class LeasePrepareFailed:
    """The logical GPU could not be made, and nothing is left of it: the lease waits again, where it stood."""

    lease_id: str
    detail: Message


@dataclass(frozen=True, slots=True)
class HolderBound:
    """Another process holds the lease."""

    lease_id: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class LeaseResized:
    """The lease has another size; ``logical_gpu`` is its new one, or ``None`` while it waits."""

    lease_id: str
    request: LeaseRequest
    logical_gpu: LogicalGPU | None


@dataclass(frozen=True, slots=True)
class LeaseResizeAcknowledged:
    """Libraries in the lease's kernel keep to its size by now, but for those that need a new process for that."""

    lease_id: str
    libraries_needing_restart: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeaseMigrationRequested:
    """The lease goes to another device once its kernel is restarted."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class LeaseTransferred:
    """Another tenant is billed for the lease from here on."""

    lease_id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class LeaseRetentionSet:
    """The lease may be parked for others from here on, or may not."""

    lease_id: str
    retention: Retention


@dataclass(frozen=True, slots=True)
class LeaseFaulted:
    """A fault hit, or may have hit, the lease's process: its user is told."""

    lease_id: str
    detail: Message
    fault_code: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseActivityReported:
    """A cell began or ended."""

    lease_id: str
    busy: bool


@dataclass(frozen=True, slots=True)
class LeaseParking:
    """Its memory is being moved to the host's (the *Intended* of its parking); it is not billed from here."""

    lease_id: str
    reason: ParkReason


@dataclass(frozen=True, slots=True)
class LeaseParked:
    """Its memory is in the host's (the *Done* of its parking); its device is free."""

    lease_id: str
    host_memory_bytes: int
    scrub: ScrubOutcome | None = None  #: of what it had there, where that is known
    scrub_bytes: int | None = None  #: see ``ScrubResult``
    scrub_detail: Message | None = None


@dataclass(frozen=True, slots=True)
class LeaseParkFailed:
    """Its memory could not be moved: the lease goes on where it was, and that is not tried again."""

    lease_id: str
    detail: Message


@dataclass(frozen=True, slots=True)
class LeaseResumeRequested:
    """A parked lease is wanted back and waits for a device."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class LeaseResuming:
    """Capacity is promised to it again; its memory is being moved there (the *Intended* of its return)."""

    lease_id: str
    logical_gpu: LogicalGPU


@dataclass(frozen=True, slots=True)
class LeaseResumed:
    """Its memory is on a device again (the *Done* of its return); it is billed from here."""

    lease_id: str
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``


@dataclass(frozen=True, slots=True)
class LeaseLimitSet:
    """Who keeps the lease within its memory from here on, and where that is less than was offered, why."""

    lease_id: str
    enforcement: Enforcement
    driver_handle: str
    detail: Message | None


@dataclass(frozen=True, slots=True)
class LeaseOverLimit:
    """The lease uses more device memory than it has: its user is told."""

    lease_id: str
    used_bytes: int


@dataclass(frozen=True, slots=True)
class LeaseWithinLimit:
    """The lease uses no more device memory than it has any more."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class LeaseDraining:
    """The lease is over, but its capacity is not free until the device shows no memory of it."""

    lease_id: str
    reason: EndReason
    detail: Message | None = None


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """The lease holds nothing any more."""

    lease_id: str
    reason: EndReason
    detail: Message | None = None
    scrub: ScrubOutcome | None = None  #: where it had a device, and the version that wrote it knew
    scrub_bytes: int | None = None  #: see ``ScrubResult``
    scrub_detail: Message | None = None


@dataclass(frozen=True, slots=True)
class LeaseForgotten:
    """A lease that ended some time ago leaves the state; the journal keeps it."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Nothing but time passed: bounds what a sudden reboot can leave unbilled."""


Event = (
    PoolStarted
    | HostAppeared
    | DeviceAppeared
    | DeviceVanished
    | DeviceHealthChanged
    | DeviceDrained
    | DeviceScrubPendingSet
    | TenantSet
    | GroupSet
    | PolicySet
    | BudgetSet
    | BudgetThresholdPassed
    | MonthBegan
    | ReservationMade
    | ReservationBegan
    | ReservationEnded
    | LeaseBudgetSet
    | LeaseBudgetThresholdPassed
    | LeaseRequested
    | LeaseGranted
    | LeasePrepared
    | LeasePrepareFailed
    | HolderBound
    | LeaseResized
    | LeaseResizeAcknowledged
    | LeaseMigrationRequested
    | LeaseTransferred
    | LeaseRetentionSet
    | LeaseActivityReported
    | LeaseFaulted
    | LeaseParking
    | LeaseParked
    | LeaseParkFailed
    | LeaseResumeRequested
    | LeaseResuming
    | LeaseResumed
    | LeaseLimitSet
    | LeaseOverLimit
    | LeaseWithinLimit
    | LeaseDraining
    | LeaseEnded
    | LeaseForgotten
    | Ticked
)
