"""Events: facts that are journalled. Once released, an event never changes, because old journals must replay.

Events have no time; the record of the journal has one for all events of a command.
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
    IdleStep,
    LeaseRequest,
    LogicalGPU,
    MissingReason,
    ParkReason,
    Plan,
    Policy,
    Retention,
    ScrubOutcome,
    Unaccounted,
)


@dataclass(frozen=True, slots=True)
class PoolStarted:
    """A pool manager began to serve; the boot clock minus ``clock_epoch_ms`` is the time of the pool."""

    boot_id: str
    clock_epoch_ms: int


@dataclass(frozen=True, slots=True)
class HostAppeared:
    """A machine was found, for the first time or with other properties."""

    spec: HostSpec


@dataclass(frozen=True, slots=True)
class DeviceAppeared:
    """A device was found, for the first time, with other properties, or after it was missing."""

    spec: DeviceSpec


@dataclass(frozen=True, slots=True)
class DeviceMissing:
    """Nothing is known of a device from here on, until it appears or vanishes; its leases are not billed meanwhile."""

    device_id: str
    reason: MissingReason


@dataclass(frozen=True, slots=True)
class DeviceVanished:
    """A device is gone, with everything that was on it."""

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
    """An administrator drained a device, or put it back into service."""

    device_id: str
    drained: bool


@dataclass(frozen=True, slots=True)
class DeviceScrubPendingSet:
    """Memory that a lease left on a device could not be overwritten; ``None``: it was, or need not be."""

    device_id: str
    reason: Message | None


@dataclass(frozen=True, slots=True)
class DeviceMemoryAssessed:
    """How much memory of an unused device is in use, or whether more is in use than visible processes account for."""

    device_id: str
    baseline_bytes: int | None  #: see ``Device.baseline_bytes``
    unaccounted: Unaccounted | None


@dataclass(frozen=True, slots=True)
class TenantSet:
    """The quota, weight and group of a tenant were set."""

    tenant: str
    weight: int
    limit_milli: int | None
    guaranteed_milli: int = 0
    group: str | None = None


@dataclass(frozen=True, slots=True)
class TenantNamed:
    """The user of a tenant has this name now. The name is only shown: the key says who is billed."""

    tenant: str
    name: str


@dataclass(frozen=True, slots=True)
class GroupSet:
    """The quota and weight of a group were set."""

    group: str
    weight: int
    limit_milli: int | None
    guaranteed_milli: int


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The policy of parking was set."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class BudgetSet:
    """The monthly budget of a tenant was set, and what happens at its limit."""

    tenant: str
    budget_micro: int | None
    policy: BudgetPolicy


@dataclass(frozen=True, slots=True)
class BudgetThresholdPassed:
    """A tenant has spent so much of its budget of this month."""

    tenant: str
    percent: int


@dataclass(frozen=True, slots=True)
class MonthBegan:
    """Another month is current, like ``2026-11``, from the time of the record on."""

    month: str


@dataclass(frozen=True, slots=True)
class ReservationMade:
    """Capacity will be reserved for a tenant, at a fixed rate."""

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
    """A reservation holds capacity, and is billed, from here on."""

    reservation_id: str


@dataclass(frozen=True, slots=True)
class ReservationEnded:
    """A reservation holds nothing any more; it is billed up to ``end_wall_ms``."""

    reservation_id: str
    end_wall_ms: int


@dataclass(frozen=True, slots=True)
class LeaseBudgetSet:
    """The budget of a lease was set."""

    lease_id: str
    budget_micro: int | None


@dataclass(frozen=True, slots=True)
class LeaseBudgetThresholdPassed:
    """A lease has cost so much of its budget."""

    lease_id: str
    percent: int


@dataclass(frozen=True, slots=True)
class LeaseRequested:
    """A lease was requested, and waits."""

    lease_id: str
    tenant: str
    request: LeaseRequest
    holder: Holder
    token_sha256: str
    job_name: str = ""  #: of the job to submit to the engine, where one is to serve it


@dataclass(frozen=True, slots=True)
class LeaseGranted:
    """Capacity is allocated, and the logical GPU is being made (the *Intended* of its preparation)."""

    lease_id: str
    logical_gpu: LogicalGPU


@dataclass(frozen=True, slots=True)
class LeasePrepared:
    """The logical GPU is ready (the *Done* of its preparation); usage is billed from here on."""

    lease_id: str
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``


@dataclass(frozen=True, slots=True)
class LeasePrepareFailed:
    """The logical GPU could not be made, and nothing is left of it: the lease waits again at its old position."""

    lease_id: str
    detail: Message


@dataclass(frozen=True, slots=True)
class HolderBound:
    """Another process holds the lease from here on."""

    lease_id: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class LeaseResized:
    """The lease has another size; ``logical_gpu`` is the new one, or ``None`` while it has none."""

    lease_id: str
    request: LeaseRequest
    logical_gpu: LogicalGPU | None


@dataclass(frozen=True, slots=True)
class LeaseResizeDeferred:
    """The lease gets the size of ``request`` once other leases on its device are parked."""

    lease_id: str
    request: LeaseRequest


@dataclass(frozen=True, slots=True)
class LeaseResizeDropped:
    """The lease keeps the size that it has; ``reason`` is ``None`` where its user wanted that."""

    lease_id: str
    reason: Message | None = None


@dataclass(frozen=True, slots=True)
class LeaseResizeAcknowledged:
    """The libraries in the kernel follow the size of the lease, but for those that need a restart."""

    lease_id: str
    libraries_needing_restart: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeaseMigrationRequested:
    """The lease goes to another device with the next restart of its kernel."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class LeaseRenamed:
    """The notebook that the lease is for got another name."""

    lease_id: str
    notebook: str


@dataclass(frozen=True, slots=True)
class LeaseTransferred:
    """Another tenant is billed for the lease from here on."""

    lease_id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class LeaseRetentionSet:
    """Whether the lease may be parked for others was set."""

    lease_id: str
    retention: Retention


@dataclass(frozen=True, slots=True)
class LeaseCpuMeanwhileSet:
    """Whether cells run without a device until the lease is granted was set."""

    lease_id: str
    on: bool


@dataclass(frozen=True, slots=True)
class LeaseFaulted:
    """A fault hit, or may have hit, the process of the lease."""

    lease_id: str
    detail: Message
    fault_code: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseActivityReported:
    """The lease's kernel reported whether a cell runs or waits."""

    lease_id: str
    busy: bool


@dataclass(frozen=True, slots=True)
class LeaseGPUIdle:
    """The device of the lease is not used since then, as readings show."""

    lease_id: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class LeaseGPUUsed:
    """The device of the lease is used, or whether it is cannot be read."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class LeaseIdleWarned:
    """The user of the lease was warned that a step of the idle policy follows."""

    lease_id: str
    step: IdleStep


@dataclass(frozen=True, slots=True)
class LeaseIdleStepTaken:
    """A step of the idle policy was taken."""

    lease_id: str
    step: IdleStep


@dataclass(frozen=True, slots=True)
class LeaseSnoozed:
    """No step of the idle policy is taken before ``until_ms``."""

    lease_id: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class LeaseUseRecorded:
    """What was measured of a lease since the last record, as ``MeasuredUse``, and what it was billed in that time."""

    lease_id: str
    cells: int
    busy_ms: int
    known_ms: int
    unknown_ms: int
    peak_bytes: int | None
    utilization_percent_ms: int
    utilization_known_ms: int
    active_ms: int
    cost_numerator: int


@dataclass(frozen=True, slots=True)
class AdviceSilenced:
    """The user wants no advice for a notebook, or wants it again."""

    tenant: str
    notebook: str
    silenced: bool


@dataclass(frozen=True, slots=True)
class LeaseParking:
    """The memory of the lease is being moved to the host (the *Intended* of its parking); billing stops here."""

    lease_id: str
    reason: ParkReason


@dataclass(frozen=True, slots=True)
class LeaseParked:
    """The memory of the lease is in host memory (the *Done* of its parking); its devices are free."""

    lease_id: str
    host_memory_bytes: int
    scrub: ScrubOutcome | None = None  #: of its device memory, where that is known
    scrub_bytes: int | None = None  #: see ``ScrubResult``
    scrub_detail: Message | None = None


@dataclass(frozen=True, slots=True)
class LeaseParkFailed:
    """The memory could not be moved: the lease goes on where it was, and the pool does not try again for a while."""

    lease_id: str
    detail: Message


@dataclass(frozen=True, slots=True)
class LeaseResumeRequested:
    """A parked lease was requested back, and waits for a device: at the end of the queue, or where it was in it."""

    lease_id: str
    keeps_place: bool = False


@dataclass(frozen=True, slots=True)
class LeaseResumeWithdrawn:
    """A lease that waited to resume left the queue; its memory stays parked."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class LeaseResuming:
    """Capacity is allocated again, and the memory is being moved there (the *Intended* of resuming)."""

    lease_id: str
    logical_gpu: LogicalGPU


@dataclass(frozen=True, slots=True)
class LeaseResumePostponed:
    """The memory could not be moved to the allocated capacity at present: the lease waits again where it was."""

    lease_id: str
    detail: Message


@dataclass(frozen=True, slots=True)
class LeaseResumed:
    """The memory is on a device again (the *Done* of resuming); usage is billed from here on."""

    lease_id: str
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``


@dataclass(frozen=True, slots=True)
class LeaseLimitSet:
    """What enforces the memory limit of the lease from here on; ``detail`` says why it is less than promised."""

    lease_id: str
    enforcement: Enforcement
    driver_handle: str
    detail: Message | None


@dataclass(frozen=True, slots=True)
class LeaseOverLimit:
    """The lease uses more device memory than it has."""

    lease_id: str
    used_bytes: int


@dataclass(frozen=True, slots=True)
class LeaseWithinLimit:
    """The lease uses no more device memory than it has again."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class LeaseJobSubmitted:
    """The engine accepted the job for the lease, under that id."""

    lease_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class LeaseTimeLimitSet:
    """The engine ends the allocation of the lease at that time on the wall clock; ``None``: it sets no time."""

    lease_id: str
    ends_at_ms: int | None


@dataclass(frozen=True, slots=True)
class LeaseOrphaned:
    """The holder of the lease ended; the lease is kept for a while, for another process to hold it."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class LeaseDraining:
    """The lease is over, but its capacity is not free until the device shows no memory of it."""

    lease_id: str
    reason: EndReason
    detail: Message | None = None


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """The lease has ended, and holds nothing any more."""

    lease_id: str
    reason: EndReason
    detail: Message | None = None
    scrub: ScrubOutcome | None = None  #: ``None``: it had no device, or that was recorded when it was parked
    scrub_bytes: int | None = None  #: see ``ScrubResult``
    scrub_detail: Message | None = None
    #: Until when it is billed where that is before it was over, on the clock that bills: an engine's job had ended.
    billed_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LeaseForgotten:
    """A lease that ended some time ago leaves the state; its records stay in the journal."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed; this bounds what a sudden restart of the machine can leave unbilled."""


@dataclass(frozen=True, slots=True)
class ChangeCounted:
    """A tenant made one of the changes that it may make in a day."""

    tenant: str


Event = (
    PoolStarted
    | HostAppeared
    | DeviceAppeared
    | DeviceMissing
    | DeviceVanished
    | DeviceHealthChanged
    | DeviceDrained
    | DeviceScrubPendingSet
    | DeviceMemoryAssessed
    | TenantSet
    | TenantNamed
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
    | LeaseResizeDeferred
    | LeaseResizeDropped
    | LeaseResizeAcknowledged
    | LeaseMigrationRequested
    | LeaseRenamed
    | LeaseTransferred
    | LeaseRetentionSet
    | LeaseCpuMeanwhileSet
    | LeaseActivityReported
    | LeaseGPUIdle
    | LeaseGPUUsed
    | LeaseIdleWarned
    | LeaseIdleStepTaken
    | LeaseSnoozed
    | LeaseUseRecorded
    | AdviceSilenced
    | LeaseFaulted
    | LeaseParking
    | LeaseParked
    | LeaseParkFailed
    | LeaseResumeRequested
    | LeaseResumeWithdrawn
    | LeaseResuming
    | LeaseResumePostponed
    | LeaseResumed
    | LeaseLimitSet
    | LeaseJobSubmitted
    | LeaseTimeLimitSet
    | LeaseOrphaned
    | LeaseOverLimit
    | LeaseWithinLimit
    | LeaseDraining
    | LeaseEnded
    | LeaseForgotten
    | Ticked
    | ChangeCounted
)
