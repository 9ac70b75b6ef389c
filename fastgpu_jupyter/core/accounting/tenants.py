"""What tenants and groups of tenants are entitled to."""

from __future__ import annotations

from ...errors import InvalidRequest, Message
from ..model import commands as c
from ..model import events as e
from ..model.entities import Instant, State
from ..model.events import Event
from . import fairshare

WEIGHT_MAX = 1_000_000


def set_tenant(state: State, command: c.SetTenant, at: Instant) -> list[Event]:
    """Set the quota, the weight and the group of a tenant."""
    _require_entitlement(command)
    event = e.TenantSet(
        command.tenant, command.weight, command.limit_milli, command.guaranteed_milli, command.group or None
    )
    known = state.tenants.get(command.tenant)
    if known is not None and event == e.TenantSet(
        command.tenant, known.weight, known.limit_milli, known.guaranteed_milli, known.group
    ):
        return []
    return [event]


def set_group(state: State, command: c.SetGroup, at: Instant) -> list[Event]:
    """Set the quota and the weight of a group."""
    _require_entitlement(command)
    event = e.GroupSet(command.group, command.weight, command.limit_milli, command.guaranteed_milli)
    known = state.groups.get(command.group)
    if known is not None and event == e.GroupSet(
        command.group, known.weight, known.limit_milli, known.guaranteed_milli
    ):
        return []
    return [event]


def _require_entitlement(command: c.SetTenant | c.SetGroup) -> None:
    if not 1 <= command.weight <= WEIGHT_MAX:
        raise InvalidRequest(Message.of("tenant.weight_out_of_range", weight_max=WEIGHT_MAX))
    if command.guaranteed_milli < 0 or (command.limit_milli is not None and command.limit_milli < 0):
        raise InvalidRequest(Message.of("tenant.quota_negative"))
    if command.limit_milli is not None and command.guaranteed_milli > command.limit_milli:
        raise InvalidRequest(Message.of("tenant.guarantee_above_limit"))


def apply_tenant(state: State, event: e.TenantSet, at: Instant) -> None:
    """Record the quota, the weight and the group of a tenant; what it used so far counts at the old weight."""
    tenant = fairshare.tenant_of(state, event.tenant)
    fairshare.settle(state, tenant, at.ms)
    tenant.weight, tenant.limit_milli = event.weight, event.limit_milli
    tenant.guaranteed_milli = event.guaranteed_milli
    fairshare.join(state, event.tenant, event.group, at.ms)


def naming(state: State, tenant: str, name: str | None) -> list[Event]:
    """Return the event that records the name of a tenant's user; none where ``name`` is unknown or the same."""
    known = state.tenants.get(tenant)
    if name is None or (known is not None and known.name == name):
        return []
    return [e.TenantNamed(tenant, name)]


def apply_named(state: State, event: e.TenantNamed, at: Instant) -> None:
    """Record the name of a tenant's user."""
    fairshare.tenant_of(state, event.tenant).name = event.name


def apply_group(state: State, event: e.GroupSet, at: Instant) -> None:
    """Record the quota and the weight of a group."""
    group = fairshare.group_of(state, event.group)
    fairshare.settle(state, group, at.ms)
    group.weight, group.limit_milli, group.guaranteed_milli = event.weight, event.limit_milli, event.guaranteed_milli
