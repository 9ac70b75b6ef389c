"""Handlers of entitlements, budgets, reservations, statements and rates."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ....core.model import commands as c
from ....wire.schemas import (
    GroupList,
    GroupView,
    RateList,
    ReservationList,
    ReservationView,
    TenantList,
    TenantView,
)
from .. import request_parsing
from ..call import HttpCall
from ..views.accounting import group_views, rate_views, reservation_views, tenant_views
from .base import HandlerContext, HandlerTable
from .found import found


class AccountingHandlers:
    """Handlers of the operations on entitlements and money."""

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._backend, self._permissions, self._names = context.backend, context.permissions, context.names

    def table(self) -> HandlerTable:
        """Return the handlers by operation."""
        return {
            "GET /v1/tenants": self.list_tenants,
            "PUT /v1/tenants/{tenant}": self.set_tenant,
            "PUT /v1/tenants/{tenant}/budget": self.set_budget,
            "GET /v1/groups": self.list_groups,
            "PUT /v1/groups/{group}": self.set_group,
            "GET /v1/reservations": self.list_reservations,
            "PUT /v1/reservations/{reservation_id}": self.reserve,
            "DELETE /v1/reservations/{reservation_id}": self.cancel_reservation,
            "GET /v1/statements/{month}": self.list_statements,
            "GET /v1/rates": self.list_rates,
        }

    # -- tenants and groups -------------------------------------------------------------------------------------------

    async def list_tenants(self, call: HttpCall) -> TenantList:
        """Return the entitlement of the caller; of all tenants for an administrator."""
        access = self._permissions.accounting_access(call.caller)
        return {
            "tenants": await self._backend.state.read(
                lambda state, at: tenant_views(state, at, access, self._names.name_of)
            )
        }

    async def set_tenant(self, call: HttpCall) -> TenantView:
        """Set the entitlement of a tenant."""
        key = await self._names.key_of(call.path["tenant"])
        weight, limit, guaranteed = request_parsing.entitlement(call.body)
        group = request_parsing.group(call.body)
        await self._backend.commands.submit(c.SetTenant(key, weight, limit, guaranteed, group), call.key)
        return await self._tenant(call, key)

    async def set_budget(self, call: HttpCall) -> TenantView:
        """Set what a tenant may spend in a month, and what happens at the limit."""
        key = await self._names.key_of(call.path["tenant"])
        await self._backend.commands.submit(c.SetBudget(key, *request_parsing.budget(call.body)), call.key)
        return await self._tenant(call, key)

    async def _tenant(self, call: HttpCall, key: str) -> TenantView:
        views = (await self.list_tenants(call))["tenants"]
        return found(views, lambda view: view["tenant"]["key"] == key, key)

    async def list_groups(self, call: HttpCall) -> GroupList:
        """Return the entitlement of the caller's group; of all groups for an administrator."""
        access = self._permissions.accounting_access(call.caller)
        return {"groups": await self._backend.state.read(lambda state, _: group_views(state, access))}

    async def set_group(self, call: HttpCall) -> GroupView:
        """Set the entitlement of a group of tenants together."""
        group = request_parsing.group(call.path) or ""
        await self._backend.commands.submit(c.SetGroup(group, *request_parsing.entitlement(call.body)), call.key)
        return found((await self.list_groups(call))["groups"], lambda view: view["group"] == group, group)

    # -- reservations -------------------------------------------------------------------------------------------------

    async def list_reservations(self, call: HttpCall) -> ReservationList:
        """Return the caller's reservations; those of all tenants for an administrator."""
        access = self._permissions.accounting_access(call.caller)
        return {
            "reservations": await self._backend.state.read(
                lambda state, _: reservation_views(state, access, self._context.facts.currency, self._names.name_of)
            )
        }

    async def reserve(self, call: HttpCall) -> ReservationView:
        """Reserve capacity for a tenant."""
        reservation_id = call.path["reservation_id"]
        tenant = await self._names.key_of(request_parsing.text(call.body, "tenant") or "")
        command = request_parsing.reservation(call.body, reservation_id, tenant, self._context.discounts)
        await self._backend.commands.submit(command, call.key)
        return await self._reservation(call, reservation_id)

    async def cancel_reservation(self, call: HttpCall) -> ReservationView:
        """End a reservation now."""
        reservation_id = call.path["reservation_id"]
        await self._backend.commands.submit(c.CancelReservation(reservation_id), call.key)
        return await self._reservation(call, reservation_id)

    async def _reservation(self, call: HttpCall, reservation_id: str) -> ReservationView:
        views = (await self.list_reservations(call))["reservations"]
        return found(views, lambda view: view["id"] == reservation_id, reservation_id)

    # -- money --------------------------------------------------------------------------------------------------------

    async def list_statements(self, call: HttpCall) -> AsyncIterator[bytes]:
        """Return the caller's statement of a month; those of all tenants for an administrator."""
        access = self._permissions.accounting_access(call.caller)
        currency = self._context.facts.currency
        return self._backend.statements.stream(call.path["month"], access, currency, self._names.name_of)

    async def list_rates(self, _: HttpCall) -> RateList:
        """Return what each model costs."""
        currency, discounts = self._context.facts.currency, self._context.discounts
        return {"rates": await self._backend.state.read(lambda state, _: rate_views(state, currency, discounts))}
