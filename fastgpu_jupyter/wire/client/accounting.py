"""Calls about entitlements, budgets, reservations, statements and rates."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypedDict, cast
from urllib.parse import quote

from .transport import Transport

if TYPE_CHECKING:
    from ..schemas import GroupView, RateView, ReservationView, StatementView, TenantView

#: A statement needs the whole journal.
STATEMENT_TIMEOUT_S = 120.0


class Entitlement(TypedDict, total=False):
    """The entitlement of a tenant or a group, in thousandths of devices; ``group`` is for tenants only."""

    weight: int
    guaranteed_milli: int
    limit_milli: int | None
    group: str | None


class AccountingCalls(Transport):
    """Calls about entitlements and money; those that set something are for administrators."""

    def tenants(self) -> list[TenantView]:
        """Return the entitlement of the caller; of all tenants for an administrator."""
        return cast("list[TenantView]", self._call("GET", "/v1/tenants")["tenants"])

    def set_tenant(self, tenant: str, entitlement: Entitlement) -> TenantView:
        """Set the entitlement of a tenant."""
        return cast("TenantView", self._change("PUT", _path("tenants", tenant), {**entitlement}))

    def set_budget(self, tenant: str, budget_micro: int | None, policy: str | None) -> TenantView:
        """Set what a tenant may spend in a month, and what happens at the limit: as before where ``policy`` is None."""
        body = {"budget_micro": budget_micro, "policy": policy}
        return cast("TenantView", self._change("PUT", f"{_path('tenants', tenant)}/budget", body))

    def groups(self) -> list[GroupView]:
        """Return the entitlement of the caller's group; of all groups for an administrator."""
        return cast("list[GroupView]", self._call("GET", "/v1/groups")["groups"])

    def set_group(self, group: str, entitlement: Entitlement) -> GroupView:
        """Set the entitlement of a group of tenants."""
        return cast("GroupView", self._change("PUT", _path("groups", group), {**entitlement}))

    def reservations(self) -> list[ReservationView]:
        """Return the caller's reservations; those of all tenants for an administrator."""
        return cast("list[ReservationView]", self._call("GET", "/v1/reservations")["reservations"])

    def reserve(self, tenant: str, size: str, plan: str, start: int | None = None) -> ReservationView:
        """Reserve capacity for a tenant."""
        body = {"tenant": tenant, "size": size, "plan": plan, "start": start}
        return cast("ReservationView", self._call("PUT", _path("reservations", secrets.token_hex(8)), body))

    def cancel_reservation(self, reservation_id: str) -> ReservationView:
        """End a reservation now."""
        return cast("ReservationView", self._call("DELETE", _path("reservations", reservation_id)))

    def statements(self, month: str) -> list[StatementView]:
        """Return the caller's statement of a month such as ``2026-11``; those of all tenants for an administrator."""
        path = _path("statements", month)
        return cast("list[StatementView]", self._call("GET", path, timeout_s=STATEMENT_TIMEOUT_S)["statements"])

    def rates(self) -> list[RateView]:
        """Return what each model costs."""
        return cast("list[RateView]", self._call("GET", "/v1/rates")["rates"])


def _path(collection: str, name: str) -> str:
    """Return a path with a name, which may have any characters and travels percent-encoded."""
    return f"/v1/{collection}/{quote(name, safe=':', errors='surrogateescape')}"
