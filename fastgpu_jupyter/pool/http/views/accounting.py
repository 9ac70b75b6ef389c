"""Views of entitlements, reservations and rates; those of statements are in :mod:`..statements`."""

from __future__ import annotations

from collections.abc import Mapping

from ....core.accounting import meter
from ....core.model.entities import Instant, Reservation, State
from ....wire.schemas import GroupView, RateView, ReservationView, TenantView
from .context import AccessScope, NameOf, tenant_reference


def tenant_views(state: State, at: Instant, access: AccessScope, name_of: NameOf) -> list[TenantView]:
    """Return the tenants within ``access`` with their entitlements and what they hold."""
    return [
        {
            "tenant": tenant_reference(key, name_of),
            "mine": key == access.tenant,
            "group": tenant.group,
            "weight": tenant.weight,
            "guaranteed_milli": tenant.guaranteed_milli,
            "limit_milli": tenant.limit_milli,
            "held_milli": tenant.held_milli,
            "held_cpu_milli": tenant.held_cpu_milli,
            "held_memory_bytes": tenant.held_memory_bytes,
            "reserved_milli": tenant.reserved_milli,
            "budget_micro_per_month": tenant.budget_micro,
            "budget_policy": tenant.budget_policy.value,
            "budget_percent": tenant.budget_percent or None,
            "spent_micro": meter.spent_micro(state, key, at),
        }
        for key, tenant in sorted(state.tenants.items())
        if access.includes_tenant(key)
    ]


def group_views(state: State, access: AccessScope) -> list[GroupView]:
    """Return the group of ``access``'s tenant, or all groups."""
    own = state.tenants.get(access.tenant)
    return [
        {
            "group": name,
            "weight": group.weight,
            "guaranteed_milli": group.guaranteed_milli,
            "limit_milli": group.limit_milli,
            "held_milli": group.held_milli,
            "held_cpu_milli": group.held_cpu_milli,
            "held_memory_bytes": group.held_memory_bytes,
        }
        for name, group in sorted(state.groups.items())
        if access.all_tenants or (own is not None and own.group == name)
    ]


def reservation_views(state: State, access: AccessScope, currency: str, name_of: NameOf) -> list[ReservationView]:
    """Return the reservations within ``access``; ended ones are included for two months."""
    return [
        _reservation(reservation, currency, name_of)
        for reservation in state.reservations.values()
        if access.includes_tenant(reservation.tenant)
    ]


def _reservation(reservation: Reservation, currency: str, name_of: NameOf) -> ReservationView:
    return {
        "id": reservation.id,
        "tenant": tenant_reference(reservation.tenant, name_of),
        "milli": reservation.milli,
        "model": reservation.model,
        "plan": reservation.plan.value,
        "rate_micro_per_hour": reservation.rate_micro_per_hour,
        "currency": currency,
        "started_at": reservation.start_wall_ms,
        "ends_at": reservation.end_wall_ms,
        "state": "ended" if reservation.ended else "running" if reservation.runs else "future",
    }


def rate_views(state: State, currency: str, discounts: Mapping[str, int]) -> list[RateView]:
    """Return what each model costs: by use, and by plan at its discount in percent."""
    counts: dict[tuple[str, int], int] = {}
    for device in state.devices.values():
        key = (device.spec.model, device.spec.rate_micro_per_hour)
        counts[key] = counts.get(key, 0) + 1
    return [
        {
            "model": model,
            "devices": count,
            "rate_micro_per_hour": rate,
            "month_micro_per_hour": rate * (100 - discounts["month"]) // 100,
            "year_micro_per_hour": rate * (100 - discounts["year"]) // 100,
            "currency": currency,
        }
        for (model, rate), count in sorted(counts.items())
    ]
