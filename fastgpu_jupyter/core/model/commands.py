"""Commands: what callers request from the pool, and what its host reports. Permissions are checked outside."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import Message
from .entities import (
    GONE,
    BudgetPolicy,
    ClusterAllocation,
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
from .use import MeasuredUse


@dataclass(frozen=True, slots=True)
class StartPool:
    """A pool manager starts on a host with that boot id and boot clock."""

    boot_id: str
    boot_clock_ms: int


@dataclass(frozen=True, slots=True)
class SetDevices:
    """The drivers answered: the hosts have exactly these devices now."""

    specs: tuple[DeviceSpec, ...]
    hosts: tuple[HostSpec, ...] = ()
    silent: tuple[str, ...] = ()  #: devices that a driver knows by their ids, and that do not answer


@dataclass(frozen=True, slots=True)
class ReportNoAnswer:
    """The drivers did not answer: nothing is known of any device."""


@dataclass(frozen=True, slots=True)
class ForgetDevice:
    """An administrator says that a missing device is gone."""

    device_id: str


@dataclass(frozen=True, slots=True)
class SetHealth:
    """A check of a device showed its health."""

    device_id: str
    health: Health
    reason: Message | None = None
    lost: bool = False  #: it is gone, with the memory of every lease on it


@dataclass(frozen=True, slots=True)
class ReportFault:
    """A driver reported a fault of a device; ``suspects`` are leases that may have caused it, where known."""

    device_id: str
    fault: DeviceFault
    suspects: tuple[str, ...] = ()
    certain: bool = False  #: it was the suspects


@dataclass(frozen=True, slots=True)
class RestoreDevice:
    """An administrator puts a suspect or faulty device back into service."""

    device_id: str


@dataclass(frozen=True, slots=True)
class DrainDevice:
    """An administrator drains a device, or puts it back into service."""

    device_id: str
    drained: bool


@dataclass(frozen=True, slots=True)
class ReportScrubFailure:
    """Memory that a lease left on a device could not be overwritten, for that reason; ``None``: it is by now."""

    device_id: str
    reason: Message | None


@dataclass(frozen=True, slots=True)
class ReportUnownedMemory:
    """Memory of a device is in use that no visible process has.

    ``explained_bytes`` of it may belong to leases on the device whose processes the driver does not list. ``left_by``
    is the lease that was known to have left memory there when it was measured: an older measurement does not end that.
    """

    device_id: str
    unowned_bytes: int
    explained_bytes: int = 0
    left_by: str | None = None


@dataclass(frozen=True, slots=True)
class SetTenant:
    """An administrator sets the quota, weight and group of a tenant."""

    tenant: str
    weight: int
    limit_milli: int | None
    guaranteed_milli: int = 0
    group: str | None = None


@dataclass(frozen=True, slots=True)
class SetGroup:
    """An administrator sets the quota and weight of a group of tenants."""

    group: str
    weight: int
    limit_milli: int | None
    guaranteed_milli: int = 0


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """An administrator sets when the pool parks leases of its own accord."""

    policy: Policy


@dataclass(frozen=True, slots=True)
class SetBudget:
    """An administrator sets what a tenant may spend in a month, and what happens at the limit."""

    tenant: str
    budget_micro: int | None
    policy: BudgetPolicy | None = None  #: None keeps the policy that was set, at first to warn


@dataclass(frozen=True, slots=True)
class SetLeaseBudget:
    """A user sets what a lease may cost in all; one that is parked because of its budget resumes."""

    lease_id: str
    budget_micro: int | None


@dataclass(frozen=True, slots=True)
class ReserveCapacity:
    """An administrator reserves capacity for a tenant, from now or from a later time on, at a discount."""

    reservation_id: str
    tenant: str
    milli: int
    model: str | None
    plan: Plan
    discount_percent: int
    start_wall_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CancelReservation:
    """An administrator ends a reservation; nothing happens if it has ended."""

    reservation_id: str


@dataclass(frozen=True, slots=True)
class RequestLease:
    """A process requests a lease; the caller of the core chooses its id."""

    lease_id: str
    tenant: str
    request: LeaseRequest
    holder: Holder
    token_sha256: str
    tenant_name: str | None = None  #: the name of the tenant's user, if it is known
    job_name: str = ""  #: of the engine's job, by :func:`.cluster.job_name`, where an engine is to serve it


@dataclass(frozen=True, slots=True)
class BindHolder:
    """Another process shall hold the lease."""

    lease_id: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class ResizeLease:
    """A user gives a lease another size while its kernel runs.

    ``used_bytes`` is its memory on the device, if known; ``seen`` the size that the user saw, if that must still be so.
    """

    lease_id: str
    profile: str
    used_bytes: int | None = None
    seen: str | None = None


@dataclass(frozen=True, slots=True)
class MigrateLease:
    """A user migrates a lease from an unhealthy or drained device; see :mod:`core.lease.migration`."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class ReportLibraries:
    """The kernel of a lease applied a memory size (``None``: a whole device) to its libraries; some need a restart."""

    lease_id: str
    memory_bytes: int | None
    libraries_needing_restart: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RenameLease:
    """The notebook that the lease is for has another name."""

    lease_id: str
    notebook: str


@dataclass(frozen=True, slots=True)
class TransferLease:
    """An administrator bills another tenant for a lease."""

    lease_id: str
    tenant: str


@dataclass(frozen=True, slots=True)
class ReportActivity:
    """A kernel reports whether a cell runs or waits, at its start as well; one requests a parked lease back."""

    lease_id: str
    busy: bool


@dataclass(frozen=True, slots=True)
class ParkLease:
    """A user parks a lease: its memory moves to host memory."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class ResumeLease:
    """A user resumes a parked lease; nothing happens if it is active or waits already."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class SetRetention:
    """A user sets whether a lease may be parked for others (``pin`` sets it to hold)."""

    lease_id: str
    retention: Retention


@dataclass(frozen=True, slots=True)
class SetCpuMeanwhile:
    """A user sets whether cells run without a device until the waiting lease is granted."""

    lease_id: str
    on: bool


@dataclass(frozen=True, slots=True)
class SnoozeLease:
    """A user puts off the steps of the idle policy."""

    lease_id: str
    for_ms: int


@dataclass(frozen=True, slots=True)
class EndIdleLease:
    """The server of a kernel shuts the kernel down, because the idle policy says so."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class ReportGPUUse:
    """Readings showed that the device of a lease is idle since then; ``None``: it is used, or that is unknown."""

    lease_id: str
    generation: int
    idle_since_ms: int | None


@dataclass(frozen=True, slots=True)
class RecordUse:
    """The pool records what was measured of a lease."""

    lease_id: str
    use: MeasuredUse


@dataclass(frozen=True, slots=True)
class SilenceAdvice:
    """A user sets whether there is advice for the notebook of a lease."""

    lease_id: str
    silenced: bool


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    """A user releases a lease, or the pool ends it for ``reason``; nothing happens if it is over."""

    lease_id: str
    reason: EndReason = EndReason.RELEASED


@dataclass(frozen=True, slots=True)
class HolderEnded:
    """A process that held a lease has ended; nothing happens if another process holds it by now."""

    lease_id: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class PrepareSucceeded:
    """The effect ``Prepare`` is done: the logical GPU is ready."""

    lease_id: str
    generation: int
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``


@dataclass(frozen=True, slots=True)
class PrepareFailed:
    """The effect ``Prepare`` failed: the logical GPU could not be made, and nothing is left of it."""

    lease_id: str
    generation: int
    detail: Message


@dataclass(frozen=True, slots=True)
class ParkSucceeded:
    """The effect ``Park`` is done: the lease has no device memory any more, but so much host memory."""

    lease_id: str
    generation: int
    host_memory_bytes: int
    scrub_result: ScrubResult | None = None  #: what became of its device memory, where that is known


@dataclass(frozen=True, slots=True)
class ParkFailed:
    """The effect ``Park`` failed, and everything is where it was."""

    lease_id: str
    generation: int
    detail: Message
    broken: bool = False  #: except that the process can no longer use its device


@dataclass(frozen=True, slots=True)
class ResumeSucceeded:
    """The effect ``Resume`` is done: the memory of the lease is on its device."""

    lease_id: str
    generation: int
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``


@dataclass(frozen=True, slots=True)
class ResumeFailed:
    """The effect ``Resume`` failed: the memory could not be brought back."""

    lease_id: str
    generation: int
    detail: Message


@dataclass(frozen=True, slots=True)
class ResumePostponed:
    """The effect ``Resume`` cannot be carried out at present, and the memory stays where it was."""

    lease_id: str
    generation: int
    detail: Message


@dataclass(frozen=True, slots=True)
class LimitSet:
    """The effect ``SetLimit`` is done: the memory limit is enforced; ``enforcement`` may be weaker than promised."""

    lease_id: str
    generation: int
    enforcement: Enforcement
    driver_handle: str = ""  #: see ``LogicalGPU.driver_handle``
    detail: Message | None = None
    memory_bytes: int | None = None  #: the limit that was set


@dataclass(frozen=True, slots=True)
class ReportMemory:
    """A measurement showed how much device memory a lease uses."""

    lease_id: str
    generation: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class DrainSucceeded:
    """The effect ``Drain`` is done: no process of the lease has memory on the device."""

    lease_id: str
    generation: int
    scrub_result: ScrubResult = GONE


@dataclass(frozen=True, slots=True)
class LogicalGPULost:
    """The partition of an active lease was destroyed by another program."""

    lease_id: str
    generation: int
    detail: Message


@dataclass(frozen=True, slots=True)
class ClusterJobSubmitted:
    """The engine accepted the job for a lease, under that id."""

    lease_id: str
    name: str
    job_id: str


@dataclass(frozen=True, slots=True)
class ClusterJobRefused:
    """The engine refused the job for a lease, or can never start it."""

    lease_id: str
    name: str
    detail: Message


@dataclass(frozen=True, slots=True)
class ClusterGranted:
    """The agent in the job for a lease reported what the engine allocated."""

    lease_id: str
    name: str
    allocation: ClusterAllocation


@dataclass(frozen=True, slots=True)
class ClusterTimeSet:
    """The engine ends the allocation of a lease at another time, on the wall clock; ``None``: it sets no time."""

    lease_id: str
    name: str
    ends_at_ms: int | None


@dataclass(frozen=True, slots=True)
class ClusterJobEnded:
    """The engine says that the job for a lease is over, or that it knows it no more."""

    lease_id: str
    name: str
    detail: Message
    ended_at_ms: int | None = None  #: when it ended, on the wall clock; ``None``: not known


@dataclass(frozen=True, slots=True)
class CountChange:
    """A tenant made a change; see :mod:`core.accounting.changes`."""

    tenant: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed, and something may be due."""


Command = (
    StartPool
    | SetDevices
    | ReportNoAnswer
    | ForgetDevice
    | SetHealth
    | ReportFault
    | RestoreDevice
    | DrainDevice
    | ReportScrubFailure
    | ReportUnownedMemory
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
    | RenameLease
    | TransferLease
    | ReportActivity
    | ParkLease
    | ResumeLease
    | SetRetention
    | SetCpuMeanwhile
    | SnoozeLease
    | EndIdleLease
    | ReportGPUUse
    | RecordUse
    | SilenceAdvice
    | ReleaseLease
    | HolderEnded
    | PrepareSucceeded
    | PrepareFailed
    | ParkSucceeded
    | ParkFailed
    | ResumeSucceeded
    | ResumeFailed
    | ResumePostponed
    | LimitSet
    | ReportMemory
    | DrainSucceeded
    | LogicalGPULost
    | ClusterJobSubmitted
    | ClusterJobRefused
    | ClusterGranted
    | ClusterTimeSet
    | ClusterJobEnded
    | CountChange
    | Tick
)

#: Commands by which a tenant changes a lease; with requests, they count as changes: see :mod:`core.accounting.changes`.
CHANGES_OF_A_LEASE = frozenset(
    {
        ResizeLease,
        MigrateLease,
        RenameLease,
        ResumeLease,
        SetRetention,
        SetCpuMeanwhile,
        SnoozeLease,
        SilenceAdvice,
        SetLeaseBudget,
    }
)
#: Commands of administrators that count as changes.
ADMINISTRATIVE_CHANGES = frozenset(
    {DrainDevice, RestoreDevice, ForgetDevice, SetTenant, SetGroup, SetBudget, ReserveCapacity, TransferLease}
)
