"""The schema of a lease, grouped by subject, and of the readings of a lease that change each second."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec

from .cluster import LeaseClusterView
from .common import (
    Count,
    EnforcementName,
    IsolationName,
    LeaseStateName,
    LimitScopeName,
    MechanismName,
    MessageView,
    Percent,
    PriorityName,
    RetentionName,
    ScrubOutcomeName,
    TenantReference,
    one_of,
)

SizeOutcomeName = Annotated[str, one_of(("applied", "pending", "needs_restart"))]
MigrationName = Annotated[str, one_of(("live", "restart", "accepted"))]
IdleStepName = Annotated[str, one_of(("notify", "park", "release", "shut_down"))]


class LeaseHolderView(TypedDict):
    """The process that holds the lease, and the kernel and the notebook, or the job, that the lease is for.

    ``job`` is the name of the job as it is shown; the notebook of such a lease is the one that it was submitted from.
    ``orphaned_at``: the process has ended since then, and the lease is kept for one that takes it over.
    """

    kernel_id: str | None
    notebook: str | None
    job: str | None
    pid: Count | None
    orphaned_at: Count | None


class LeaseRequestView(TypedDict):
    """The request that the lease grants; ``size`` is written as the user wrote it."""

    size: str
    priority: PriorityName
    isolation: IsolationName
    cpu_milli: Count
    host_memory_bytes: Count


class LeaseSizeView(TypedDict):
    """The outcome of the last change of size of an active lease; ``null`` if its size was not changed.

    ``requested`` is the size that the lease gets once other leases are parked for it, if it waits for that.
    """

    requested: str | None
    applied: SizeOutcomeName | None
    message: MessageView | None


class LogicalGPUView(TypedDict):
    """The logical GPU of a lease: its devices or its partition, and the mechanism.

    ``partition`` is the profile of its partition if the hardware divides its device.
    """

    device_ids: Annotated[list[str], msgspec.Meta(min_length=1)]
    model: str | None
    simulated: bool
    mechanism: MechanismName
    mechanism_reason: MessageView | None
    partition: str | None


class LeaseMemoryView(TypedDict):
    """Device memory: what the lease may use, and what it used at the last reading.

    ``limit_bytes`` is what the request asks for while there is no logical GPU, ``null`` if that is not known.
    """

    limit_bytes: Count | None
    used_bytes: Count | None


class LeaseUsageView(TypedDict):
    """What the lease does: utilization at the last reading, billed time, and whether a cell runs or waits.

    ``busy`` is ``null`` while that is unknown, because the lease's process has not reported. ``last_used_at`` is the
    time at which a cell last began or ended, or the logical GPU last became ready.
    """

    utilization_percent: Percent | None
    active_ms: Count
    busy: bool | None
    last_used_at: Count


class LeaseMoneyView(TypedDict):
    """The cost of the lease and its budget.

    ``cost_micro`` is the cost at ``cost_at``; from then on the lease costs ``billed_micro_per_hour``, which is its rate
    less the ``covered_milli`` that reservations of its tenant pay, until that changes. ``budget_percent`` is the last
    threshold of its own budget that it passed.
    """

    currency: str
    rate_micro_per_hour: Count | None
    billed_micro_per_hour: Count
    covered_milli: Count
    cost_micro: Count
    cost_at: Count
    budget_micro: Count | None
    budget_percent: Count | None
    message: MessageView | None


class QueueHolderView(TypedDict):
    """The lease that is expected to make room for the first request of the queue, and a sentence about it.

    ``lease_id`` and ``notebook`` are ``null`` if it is another user's. ``yields_at`` is the wall-clock time at which it
    is parked if no cell begins there; ``null`` if that is not known.
    """

    lease_id: str | None
    notebook: str | None
    yields_at: Count | None
    message: MessageView


class LeaseQueueView(TypedDict):
    """The place of a waiting lease in the queue: its position, the pending reason and the estimate.

    ``holder`` is ``null`` unless the request is the first one and waits for a certain lease.
    """

    position: Count
    reason: MessageView
    holder: QueueHolderView | None
    estimate_ms: Count | None
    estimate_basis: MessageView


class LeaseEnforcementView(TypedDict):
    """Who enforces the memory limit, and whether for the whole lease or for each of its processes."""

    memory_limit: EnforcementName | None
    scope: LimitScopeName | None
    message: MessageView | None


class DeviceAccessView(TypedDict):
    """The device files that the kernel must be able to open; ``restricted`` if those of other GPUs are closed to it."""

    nodes: list[str]
    restricted: bool
    message: MessageView | None


class LeaseParkingView(TypedDict):
    """Whether the lease may be parked, why it was parked the last time, and the memory parked.

    ``parkable``: whether its user can try to park it now. ``obstacle``: why it is active and not parked, or would
    probably not be: what it lacks, or why the last attempt failed; ``null`` where nothing is known to prevent it.
    """

    retention: RetentionName
    parkable: bool
    obstacle: MessageView | None
    reason: MessageView | None
    parked_bytes: Count


class LeaseScrubView(TypedDict):
    """What is known of the device memory of the lease since it ended or was parked."""

    result: ScrubOutcomeName
    bytes: Count | None
    message: MessageView | None


class LeaseHealthView(TypedDict):
    """How the lease can leave an unhealthy device, and what its user should know of a fault or a missing device.

    ``migration``: ``live`` with its memory, ``restart`` without it when the kernel is restarted, ``accepted`` if that
    was requested. ``missing_since``: nothing is known of a device of the lease since then; the lease keeps its place
    and is not billed.
    """

    migration: MigrationName | None
    message: MessageView | None
    missing_since: Count | None


class IdleStepView(TypedDict):
    """A step of the idle policy, and how long the lease must have been idle for it."""

    step: IdleStepName
    after_ms: Count


class NextIdleStepView(TypedDict):
    """The next step of the idle policy, and when it is taken if nothing uses the lease before."""

    step: IdleStepName
    at: Count


class LeaseIdleView(TypedDict):
    """How long the lease is idle, and what the idle policy does about it.

    ``cells_idle_since`` is ``null`` while a cell runs or waits, or where that is unknown; ``gpu_idle_since`` while the
    GPU is in use, a cell runs, or that is unknown. The lease is idle from the later of both on. ``next`` is ``null``
    unless it is idle and a step follows. ``steps`` are those that apply to this lease, in their order; ``taken`` is the
    last one that was taken since the lease became idle. ``message`` announces a step or says that one was taken.
    """

    cells_idle_since: Count | None
    gpu_idle_since: Count | None
    next: NextIdleStepView | None
    steps: list[IdleStepView]
    taken: IdleStepName | None
    snoozed_until: Count | None
    message: MessageView | None


class LeaseTimesView(TypedDict):
    """The wall-clock times of the request, the grant and the end of the lease."""

    requested_at: Count
    granted_at: Count | None
    ended_at: Count | None


class LeaseView(TypedDict):
    """One lease, as its tenant sees it.

    ``version`` grows with each change. ``environment`` is what the environment of its processes must have while the
    lease is active, ``hidden_environment`` what it must have otherwise: with it no device is visible. ``gpu`` is
    ``null`` while the lease has no logical GPU, and ``queue`` unless it waits. ``notes`` say what is being done for
    the lease, why it is parked, or why it ended. ``cpu_meanwhile``: its cells run without a device until it is granted.
    ``cluster`` is ``null`` for a lease of local devices.
    """

    id: str
    version: Count
    state: LeaseStateName
    tenant: TenantReference
    end_reason: MessageView | None
    notes: list[MessageView]
    environment: dict[str, str]
    hidden_environment: dict[str, str]
    holder: LeaseHolderView
    request: LeaseRequestView
    size: LeaseSizeView
    gpu: LogicalGPUView | None
    memory: LeaseMemoryView
    usage: LeaseUsageView
    money: LeaseMoneyView
    queue: LeaseQueueView | None
    cpu_meanwhile: bool
    enforcement: LeaseEnforcementView
    device_access: DeviceAccessView
    parking: LeaseParkingView
    scrub: LeaseScrubView | None
    health: LeaseHealthView
    idle: LeaseIdleView
    cluster: LeaseClusterView | None
    times: LeaseTimesView


class RequestedView(TypedDict):
    """The lease of a kernel that is started when it is granted, and how long after the grant it is kept for that."""

    lease: LeaseView
    kept_for_ms: Count


class MemoryReading(TypedDict):
    """The memory in use at the last reading; ``null`` if it is not known."""

    used_bytes: Count | None


class LeaseUsageReading(TypedDict):
    """The utilization at the last reading and the billed time of a lease."""

    utilization_percent: Percent | None
    active_ms: Count


class LeaseMoneyReading(TypedDict):
    """The cost of a lease at ``cost_at``, and its rate from then on."""

    billed_micro_per_hour: Count
    cost_micro: Count
    cost_at: Count


class LeaseReading(TypedDict):
    """The fields of a lease that change each second, in the same groups as in :class:`LeaseView`."""

    id: str
    memory: MemoryReading
    usage: LeaseUsageReading
    money: LeaseMoneyReading
