"""Who has had how much: usage of devices that fades with a half-life, per unit of weight.

A tenant's usage is the integral of what it holds (thousandths of devices) over time, each moment counting half as
much as one that is a half-life later. Instead of fading the past, the future is scaled up ("forward decay"): a moment
``t`` counts ``2 ** ((t - epoch) / HALF_LIFE_MS)``. So the order of two tenants that hold nothing never changes, which
lets the queue keep them in a heap. The epoch is moved before the scale outgrows a float.
"""

from __future__ import annotations

import math

from .model import State, Tenant

HALF_LIFE_MS = 24 * 3_600_000
#: Half-lives after which the epoch is moved: far from the limits of a float.
EPOCH_HALF_LIVES = 200
_RATE = math.log(2) / HALF_LIFE_MS


def tenant_of(state: State, name: str) -> Tenant:
    """The tenant of that name, made where it is new."""
    return state.tenants.setdefault(name, Tenant())


def key(state: State, name: str, now_ms: int) -> float:
    """What the tenant has used per weight; the smaller, the sooner it is served. Never falls as time passes."""
    tenant = state.tenants.get(name)
    return 0.0 if tenant is None else _used(state, tenant, now_ms) / tenant.weight


def hold(state: State, name: str, change_milli: int, now_ms: int) -> None:
    """The tenant holds ``change_milli`` thousandths of devices more from now on (less where it is negative)."""
    move_epoch(state, now_ms)
    tenant = tenant_of(state, name)
    tenant.used = _used(state, tenant, now_ms)
    tenant.used_until_ms = max(now_ms, tenant.used_until_ms)
    tenant.held_milli += change_milli


def move_epoch(state: State, now_ms: int) -> bool:
    """Rescale all usage to a new epoch where the old one is far away; whether it was."""
    if now_ms - state.usage_epoch_ms < EPOCH_HALF_LIVES * HALF_LIFE_MS:
        return False
    factor = math.exp(-_RATE * (now_ms - state.usage_epoch_ms))
    for tenant in state.tenants.values():
        tenant.used = _used(state, tenant, now_ms) * factor
        tenant.used_until_ms = max(now_ms, tenant.used_until_ms)
    state.usage_epoch_ms = now_ms
    return True


def _used(state: State, tenant: Tenant, now_ms: int) -> float:
    if not tenant.held_milli or now_ms <= tenant.used_until_ms:
        return tenant.used
    start = _RATE * (tenant.used_until_ms - state.usage_epoch_ms)
    span = math.expm1(_RATE * (now_ms - tenant.used_until_ms))
    return tenant.used + tenant.held_milli * math.exp(start) * span


def scaled(state: State, amount: float, now_ms: int) -> float:
    """``amount`` of use at ``now_ms`` on the scale of :func:`key`."""
    return amount * math.exp(_RATE * (now_ms - state.usage_epoch_ms)) * _RATE
