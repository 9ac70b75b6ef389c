"""What callers and the host say to the pool. Whether a caller may say it is the shell's question."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import Message
from .entities import (
    GONE,
    BudgetPolicy,
    DeviceFault,
    DeviceSpec,
    EndReason,
    Enforcement,
    Health,
    Holder,
    HostSpec,
    LeaseRequest,
    Plan,
    Policy,
    Retention,
    ScrubResult,
)


@dataclass(frozen=True, slots=True)
class StartPool:
    """A pool manager starts on a host of which it is told the boot and the boot clock."""

    boot_id: str
    boot_clock_ms: int


@dataclass(frozen=True, slots=True)
class SetDevices:
    """The hosts show exactly these devices."""

    specs: tuple[DeviceSpec, ...]
    hosts: tuple[HostSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class SetHealth:
    """A device's health was observed."""

    device_id: str
    health: Health
    reason: Message | None = None
    lost: bool = False  #: it is gone, with all that was on it
    stays: bool = False  #: what is on it cannot be moved now


@dataclass(frozen=True, slots=True)
class ReportFault:
    """A driver reported a fault of a device; ``suspects`` are leases that may have caused it, where known."""

    device_id: str
    fault: DeviceFault
    suspects: tuple[str, ...] = ()
    certain: bool = False  #: it was the suspects


@dataclass(frozen=True, slots=True)
class RestoreDevice:
    """An administrator, who had it looked at, puts a device back into service that was found suspect or faulty."""

    device_id: str


@dataclass(frozen=True, slots=True)
class DrainDevice:
    """An administrator wants the device empty, or back in service."""

    device_id: str
    drained: bool


@dataclass(frozen=True, slots=True)
class ReportScrubFailure:
    """Memory that a lease left on a device could not be overwritten, for that reason; with ``None`` it was, by now."""

    device_id: str
    reason: Message | None


@dataclass(frozen=True, slots=True)
class SetTenant:
    """An administrator sets what a tenant is entitled to."""

    tenant: str
    weight: int
    limit_milli: int | None
    guaranteed_milli: int = 0
    group: str | None = None


@dataclass(frozen=True, slots=True)
class SetGroup:
    """An administrator sets what a group of tenants is entitled to."""

    group: str
    weight: int
    limit_milli: int | None
    guaranteed_milli: int = 0


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """An administrator says when the pool parks of its own accord."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class SetBudget:
    """An administrator says what a tenant may spend in a month, and what happens after."""

    tenant: str
    budget_micro: int | None
    policy: BudgetPolicy = BudgetPolicy.WARN


@dataclass(frozen=True, slots=True)
class SetLeaseBudget:
    """The lease may cost so much in all; one that is parked because it had is then wanted back."""

    lease_id: str
    budget_micro: int | None


@dataclass(frozen=True, slots=True)
class ReserveCapacity:
    """An administrator holds capacity for a tenant, from now or from a later time on, at a discount."""

    reservation_id: str
    tenant: str
    milli: int
    model: str | None
    plan: Plan
    discount_percent: int
    start_wall_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CancelReservation:
    """An administrator ends a reservation; harmless where it has ended."""

    reservation_id: str


@dataclass(frozen=True, slots=True)
class RequestLease:
    """A process asks for a lease; ids are the shell's to choose."""

    lease_id: str
    tenant: str
    request: LeaseRequest
    holder: Holder
    token_sha256: str


@dataclass(frozen=True, slots=True)
class BindHolder:
    """Another process is to hold the lease."""

    lease_id: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class ResizeLease:
    """The lease is to have another size; its kernel goes on. ``used_bytes`` is what it has on its device, if known."""

    lease_id: str
    profile: str
    used_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class MigrateLease:
    """Its user wants the lease on another device than the one that is not well; see :mod:`.leaving`."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class ReportLibraries:
    """The lease's kernel told its libraries their memory (``None``: a whole device); some cannot follow."""

    lease_id: str
    memory_bytes: int | None
    libraries_needing_restart: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TransferLease:
    """Another tenant is to be billed for the lease."""

    lease_id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class ReportActivity:
    """A cell begins or ends; one that begins wants a parked lease back."""

    lease_id: str
    busy: bool


@dataclass(frozen=True, slots=True)
class ParkLease:
    """Its user can do without the device for now: its memory is to wait in the host's."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class ResumeLease:
    """A parked lease is wanted back on a device; harmless where it is there or waits already."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class SetRetention:
    """Whether the lease may be parked for others (``pin`` is to hold it)."""

    lease_id: str
    retention: Retention


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """The lease is given back, or taken back for ``reason``; harmless where it is over already."""

    lease_id: str
    reason: EndReason = EndReason.RELEASED


@dataclass(frozen=True, slots=True)
class HolderEnded:
    """A process that held the lease has ended; harmless where another one holds it by now."""

    lease_id: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class PrepareSucceeded:
    """Effect done: the logical GPU is ready."""

    lease_id: str
    generation: int
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``


@dataclass(frozen=True, slots=True)
class PrepareFailed:
    """Effect failed: the logical GPU could not be made."""

    lease_id: str
    generation: int
    detail: Message


@dataclass(frozen=True, slots=True)
class ParkSucceeded:
    """Effect done: the lease has no memory on the device any more, but so much in the host's."""

    lease_id: str
    generation: int
    host_memory_bytes: int
    scrub_result: ScrubResult | None = None  #: what became of what it had there, where that is known


@dataclass(frozen=True, slots=True)
class ParkFailed:
    """Effect failed: everything is where it was."""

    lease_id: str
    generation: int
    detail: Message
    broken: bool = False  #: not so: its process cannot use its device any more


@dataclass(frozen=True, slots=True)
class ResumeSucceeded:
    """Effect done: the lease's memory is on its device."""

    lease_id: str
    generation: int
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``


@dataclass(frozen=True, slots=True)
class ResumeFailed:
    """Effect failed: the memory could not be brought back."""

    lease_id: str
    generation: int
    detail: Message


@dataclass(frozen=True, slots=True)
class LimitSet:
    """Effect done: somebody keeps the lease within its memory from now on, perhaps not who was to."""

    lease_id: str
    generation: int
    enforcement: Enforcement
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``
    detail: Message | None = None
    memory_bytes: int | None = None  #: what the lease had when that was asked for


@dataclass(frozen=True, slots=True)
class ReportMemory:
    """So much of its device's memory does a lease use."""

    lease_id: str
    generation: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class DrainSucceeded:
    """Effect done: no process of the lease has memory on the device."""

    lease_id: str
    generation: int
    scrub_result: ScrubResult = GONE


@dataclass(frozen=True, slots=True)
class LogicalGPULost:
    """What an active lease had of its device is not there any more, though the pool did not take it."""

    lease_id: str
    generation: int
    detail: Message


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Command = (
    StartPool
    | SetDevices
    | SetHealth
    | ReportFault
    | RestoreDevice
    | DrainDevice
    | ReportScrubFailure
    | SetTenant
    | SetGroup
    | SetPolicy
    | SetBudget
    | SetLeaseBudget
    | ReserveCapacity
    | CancelReservation
    | RequestLease
    | BindHolder
    | ResizeLease
    | MigrateLease
    | ReportLibraries
    | TransferLease
    | ReportActivity
    | ParkLease
    | ResumeLease
    | SetRetention
    | ReleaseLease
    | HolderEnded
    | PrepareSucceeded
    | PrepareFailed
    | ParkSucceeded
    | ParkFailed
    | ResumeSucceeded
    | ResumeFailed
    | LimitSet
    | ReportMemory
    | DrainSucceeded
    | LogicalGPULost
    | Tick
)
