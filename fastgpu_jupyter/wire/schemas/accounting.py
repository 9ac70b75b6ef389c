"""The schemas of entitlements, budgets, reservations, statements and rates.

Capacity is in thousandths of devices or processor cores, money in millionths of the pool's currency.
"""

from __future__ import annotations

from typing import Annotated, TypedDict

from ...core.accounting.budgets import THRESHOLDS
from .common import BudgetPolicyName, Count, Integer, PlanName, TenantReference, one_of

#: The last threshold before a budget is spent, in thousandths.
WARN_MILLI = 10 * max(percent for percent in THRESHOLDS if percent < 100)
ReservationStateName = Annotated[str, one_of(("future", "running", "ended"))]
StatementLineKind = Annotated[str, one_of(("lease", "reservation"))]


class TenantView(TypedDict):
    """The entitlement of a tenant, what it holds, and what it has spent this month.

    ``mine`` is whether it is the caller's own. ``budget_percent`` is the last threshold of its budget that it passed.
    """

    tenant: TenantReference
    mine: bool
    group: str | None
    weight: Count
    guaranteed_milli: Count
    limit_milli: Count | None
    held_milli: Count
    held_cpu_milli: Count
    held_memory_bytes: Count
    reserved_milli: Count
    budget_micro_per_month: Count | None
    budget_policy: BudgetPolicyName
    budget_percent: Count | None
    spent_micro: Count


class GroupView(TypedDict):
    """The entitlement of a group of tenants, and what they hold together."""

    group: str
    weight: Count
    guaranteed_milli: Count
    limit_milli: Count | None
    held_milli: Count
    held_cpu_milli: Count
    held_memory_bytes: Count


class ReservationView(TypedDict):
    """Capacity that is reserved for a tenant, and what it costs an hour with its discount."""

    id: str
    tenant: TenantReference
    milli: Count
    model: str | None
    plan: PlanName
    rate_micro_per_hour: Count
    currency: str
    started_at: Count
    ends_at: Count
    state: ReservationStateName


class StatementLineView(TypedDict):
    """The time in a month in which one lease was active, or one reservation ran, and what it cost.

    ``job`` is the shown name of the job that the lease was for, and ``notebook`` the one that it was submitted from.
    ``covered_milli`` is what the tenant's reservations paid of a lease; ``rate_micro_per_hour`` is without that.
    ``busy_ms`` is the time in which a cell ran, ``idle_ms`` that in which none ran; of the rest of ``active_ms`` it is
    not known.
    """

    kind: StatementLineKind
    lease_id: str | None
    reservation_id: str | None
    notebook: str | None
    job: str | None
    size: str
    device_ids: list[str]
    started_at: Integer
    active_ms: Count
    busy_ms: Count | None
    idle_ms: Count | None
    covered_milli: Count | None
    rate_micro_per_hour: Count
    amount_micro: Count


class StatementView(TypedDict):
    """The usage of one tenant in one month (UTC); the amounts of the lines sum to the total.

    ``mine`` is whether it is the caller's own. ``busy_micro`` is what leases cost while a cell ran, ``idle_micro`` what
    they cost while none ran; the rest of the total is reservations, and time in which that is not known.
    """

    tenant: TenantReference
    mine: bool
    month: str
    currency: str
    active_ms: Count
    busy_micro: Count
    idle_micro: Count
    total_micro: Count
    lines: list[StatementLineView]


class RateView(TypedDict):
    """What the devices of one model cost an hour: by use, and reserved by the month or by the year."""

    model: str
    devices: Count
    rate_micro_per_hour: Count
    month_micro_per_hour: Count
    year_micro_per_hour: Count
    currency: str


class TenantList(TypedDict):
    """Entitlements: the caller's own, or those of all tenants for an administrator."""

    tenants: list[TenantView]


class GroupList(TypedDict):
    """Entitlements of groups: of the caller's group, or of all groups for an administrator."""

    groups: list[GroupView]


class ReservationList(TypedDict):
    """Reservations: the caller's own, or those of all tenants for an administrator."""

    reservations: list[ReservationView]


class StatementList(TypedDict):
    """Statements: the caller's own, or those of all tenants for an administrator."""

    statements: list[StatementView]


class RateList(TypedDict):
    """The rates of all models of the pool."""

    rates: list[RateView]


class QuotaView(TypedDict):
    """The entitlements of the user and of the group that the user belongs to."""

    tenants: list[TenantView]
    groups: list[GroupView]


class SpendingView(TypedDict):
    """What the user has spent, by the pool's clock; an amount that is not known is ``null``.

    ``month`` is the calendar month in UTC to which the budget applies. ``today_micro`` is since the time that was
    requested, or since midnight in UTC. ``rate_micro_per_hour`` is what the user's leases and reservations cost now.
    ``warn_milli`` is the thousandth of the budget at which the user is warned. Of the month's amount, leases cost
    ``busy_micro`` while a cell ran and ``idle_micro`` while none ran, at ``observed_at``; the rest is reservations, and
    time in which that is not known.
    """

    month: str
    currency: str
    today_micro: Count | None
    month_micro: Count | None
    budget_micro: Count | None
    budget_policy: BudgetPolicyName | None
    warn_milli: Count
    rate_micro_per_hour: Count | None
    busy_micro: Count | None
    idle_micro: Count | None
    observed_at: Count | None
