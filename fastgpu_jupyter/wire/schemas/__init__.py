"""The JSON objects that the pool manager sends, as types.

All times are wall-clock milliseconds, all durations milliseconds, memory is in bytes, money in millionths of the
pool's currency. ``openapi`` documents and the pool's own answers are checked against these in tests.
"""

from __future__ import annotations

from typing import Literal, TypedDict

LeaseStateName = Literal["waiting", "preparing", "active", "parking", "parked", "resuming", "draining", "ended"]
BudgetPolicyName = Literal["warn", "stop", "park"]
PlanName = Literal["month", "year"]
PriorityName = Literal["low", "normal", "high", "system"]
IsolationName = Literal["none", "limited", "hardware"]
RetentionName = Literal["yield", "hold"]
EnforcementName = Literal["hardware", "driver", "userspace", "cooperative", "none"]


class PoolView(TypedDict):
    """The pool manager itself. ``counters_silent_since``: since when no utilization and no use of memory is known, as
    the driver of the devices does not answer; ``null`` while it does.
    """

    version: str
    scope: Literal["user", "system"]
    simulated: bool
    currency: str
    started_at: int
    message: str | None
    accepting: bool
    counters_silent_since: int | None


class HoldingView(TypedDict):
    """What one lease holds of a device; other tenants' are without names."""

    lease_id: str | None
    tenant: str | None
    notebook: str | None
    state: LeaseStateName
    memory_bytes: int
    mine: bool


class ForeignView(TypedDict):
    """A process that has memory on a device and no right to it: no lease of this device is its.

    ``lease_id``: the lease that it has elsewhere, where that is the viewer's own.
    """

    pid: int
    user: str
    memory_bytes: int | None
    lease_id: str | None


class DeviceView(TypedDict):
    """One physical GPU."""

    id: str
    index: int
    model: str
    memory_bytes: int
    memory_free_bytes: int
    simulated: bool
    health: Literal["healthy", "suspect", "faulty"]
    health_reason: str | None
    drained: bool
    parkable: bool
    mechanisms: list[str]
    partitions: list[str]
    rate_micro_per_hour: int
    utilization_percent: int | None
    memory_used_bytes: int | None
    holdings: list[HoldingView]
    foreign: list[ForeignView]


class PartitionModeView(TypedDict):
    """MIG mode of a device, and what is on it: ``leases`` by id, ``processes`` by number.

    ``pending``: what the mode will be once the device is reset; ``survives_restart``: whether it outlives a restart.
    """

    device_id: str
    capable: bool
    on: bool
    pending: bool
    needs_reset: bool
    survives_restart: bool
    leases: list[str]
    processes: list[int]


class LeaseView(TypedDict):
    """One lease, as its tenant sees it.

    ``partition``: the profile of its partition where the hardware divides its device.
    ``parkable``: whether it could be parked now, if its user let it; ``park_reason``: why it was, the last time.
    ``cost_micro``: what it had cost at ``cost_at``; from there on it costs ``billed_micro_per_hour`` until that
    changes: its rate, less the ``covered_milli`` that its tenant's reservations pay. ``budget_percent``: the last
    threshold of its own budget that it passed. ``mechanism_reason``: why it has its mechanism; ``limit_message``: what
    its user is to be told of its memory limit. ``scrub``: what is known of its device memory since it ended, or was
    parked; ``scrub_bytes``: how much was overwritten; ``scrub_detail``: what else is to be known of that.
    ``device_nodes``: the device files that its kernel must be able to open; ``device_nodes_closed``: whether those of
    other GPUs are closed to it; ``device_nodes_message``: why not, where the pool was told to. ``fault_message``: what
    its user should know of a fault of its code on the GPU, or of the GPU itself. ``size_applied``: what came of the
    last change of size of an active lease, with ``size_message`` where there is something to say. ``move``: how the
    lease can leave a GPU that is not well: ``live`` with its memory, ``restart`` without it, when its kernel is
    restarted; ``accepted``: so, and it was asked for.
    """

    id: str
    version: int
    state: LeaseStateName
    end_reason: str | None
    kernel_id: str | None
    notebook: str | None
    pid: int | None
    device_id: str | None
    device_ids: list[str]
    device_model: str | None
    simulated: bool
    tenant: str
    profile: str
    priority: PriorityName
    isolation: IsolationName
    retention: RetentionName
    cpu_milli: int
    host_memory_bytes: int
    busy: bool
    used_at: int
    parkable: bool
    park_reason: str | None
    parked_bytes: int
    memory_bytes: int | None
    mechanism: str | None
    mechanism_reason: str | None
    partition: str | None
    enforcement: EnforcementName | None
    limit_scope: Literal["lease", "process"] | None
    limit_message: str | None
    environment: dict[str, str]
    hidden_environment: dict[str, str]
    device_nodes: list[str]
    device_nodes_closed: bool
    device_nodes_message: str | None
    requested_at: int
    granted_at: int | None
    ended_at: int | None
    scrub: Literal["gone", "device_gone", "overwritten"] | None
    scrub_bytes: int | None
    scrub_detail: str | None
    active_ms: int
    rate_micro_per_hour: int | None
    billed_micro_per_hour: int
    covered_milli: int
    cost_micro: int
    cost_at: int
    budget_micro: int | None
    budget_percent: int | None
    budget_message: str | None
    fault_message: str | None
    size_applied: Literal["applied", "pending", "needs_restart"] | None
    size_message: str | None
    move: Literal["live", "restart", "accepted"] | None
    currency: str
    utilization_percent: int | None
    memory_used_bytes: int | None
    place: int | None
    pending_reason: str | None
    pending_detail: str | None


class DeviceUsageView(TypedDict):
    """What of a device changes each second."""

    id: str
    utilization_percent: int | None
    memory_used_bytes: int | None


class LeaseUsageView(DeviceUsageView):
    """What of a lease does."""

    active_ms: int
    billed_micro_per_hour: int
    cost_micro: int
    cost_at: int


class HistoryView(TypedDict):
    """What a lease or a device used, a number for each step of ``resolution_ms`` from ``started_at`` on; ``null`` is a
    step in which it was not known. A minute is the mean of its seconds, and ``memory_used_bytes_max`` the most.

    Memory is to the KiB. ``energy_millijoule``: of a device since its driver was loaded, of a lease since it was first
    sampled; it, power and temperature are ``null`` where they are not measured, as for a lease that shares its device.
    """

    resolution_ms: int
    started_at: int
    utilization_percent: list[int | None]
    memory_used_bytes: list[int | None]
    memory_used_bytes_max: list[int | None]
    power_milliwatt: list[int | None]
    temperature_celsius: list[int | None]
    energy_millijoule: int | None


class QueueView(TypedDict):
    """One place in the queue; other tenants' are without names."""

    lease_id: str | None
    place: int
    reason: str
    detail: str
    estimate_ms: int | None
    estimate_basis: str
    profile: str
    priority: PriorityName
    memory_bytes: int | None
    notebook: str | None
    tenant: str | None
    since: int
    mine: bool


class TenantView(TypedDict):
    """What a tenant is entitled to and holds, in thousandths of devices, of processor cores and in bytes; and what it
    has spent this month. ``budget_percent`` is the last threshold that it passed of its budget.
    """

    tenant: str
    group: str | None
    weight: int
    guaranteed_milli: int
    limit_milli: int | None
    held_milli: int
    held_cpu_milli: int
    held_memory_bytes: int
    reserved_milli: int
    budget_micro_per_month: int | None
    budget_policy: BudgetPolicyName
    budget_percent: int | None
    spent_micro: int


class ReservationView(TypedDict):
    """Capacity that is held for a tenant, in thousandths of devices, and what it costs an hour at its discount."""

    id: str
    tenant: str
    milli: int
    model: str | None
    plan: PlanName
    rate_micro_per_hour: int
    currency: str
    started_at: int
    ends_at: int
    state: Literal["future", "running", "ended"]


class GroupView(TypedDict):
    """The same of a group of tenants together."""

    group: str
    weight: int
    guaranteed_milli: int
    limit_milli: int | None
    held_milli: int
    held_cpu_milli: int
    held_memory_bytes: int


class StatementLineView(TypedDict):
    """The time in which one lease was active, or one reservation ran, in a month, and what it cost.

    ``covered_milli`` is what of a lease the tenant's reservations paid; ``rate_micro_per_hour`` is without that.
    """

    kind: Literal["lease", "reservation"]
    lease_id: str | None
    reservation_id: str | None
    notebook: str | None
    profile: str
    device_ids: list[str]
    started_at: int
    active_ms: int
    covered_milli: int | None
    rate_micro_per_hour: int
    amount_micro: int


class StatementView(TypedDict):
    """What one tenant used in one month (of UTC); the lines sum to the total."""

    tenant: str
    month: str
    currency: str
    active_ms: int
    total_micro: int
    lines: list[StatementLineView]


class RateView(TypedDict):
    """What the devices of one model cost an hour: by use, and reserved by the month or the year."""

    model: str
    devices: int
    rate_micro_per_hour: int
    month_micro_per_hour: int
    year_micro_per_hour: int
    currency: str


class StatusView(TypedDict):
    """Everything at one instant."""

    pool: PoolView
    devices: list[DeviceView]
    leases: list[LeaseView]
    queue: list[QueueView]
