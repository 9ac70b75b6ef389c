"""Fair share: usage that decays with a half-life, per unit of weight, of tenants and of their groups.

What counts is the *dominant* resource: of the thousandths of all devices, of all processors and of all host memory that
a tenant holds, the largest, in thousandths of devices. Its usage is the integral of that over time, each moment
counting half as much as one that is a half-life later. Instead of fading the past, the future is scaled up ("forward
decay"): a moment ``t`` counts ``2 ** ((t - epoch) / HALF_LIFE_MS)``. So the order of two tenants that hold nothing
never changes, which lets the queue keep them in a heap. The epoch is moved before the scale outgrows a float.

Where an administrator lets leases take turns (``Policy.quantum_ms``), not the past days count but the present: what
tenants were served, per weight, while anybody waited ("start-time fair queueing"). A tenant that begins to contend
starts at the value of the last granted one, so that no tenant saves turns up or is behind for having come late.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import NamedTuple

from ..model.entities import State, Tenant

HALF_LIFE_MS = 24 * 3_600_000
#: Half-lives after which the epoch is moved: far from the limits of a float.
EPOCH_HALF_LIVES = 200
#: What a tenant holds counts as if used for so long already: a burst is not free while its use is still to come.
ADVANCE_MS = 600_000
_RATE = math.log(2) / HALF_LIFE_MS
_EPOCH_MS = EPOCH_HALF_LIVES * HALF_LIFE_MS


class ResourceAmounts(NamedTuple):
    """What is held, or a change of it."""

    milli: int = 0  #: thousandths of devices
    cpu_milli: int = 0
    memory_bytes: int = 0


class FairShareKey(NamedTuple):
    """How much a tenant has had; the smaller, the sooner it is served.

    It never becomes smaller as time passes, only when the tenant or its group gives something back or is set again.
    """

    beyond: bool  #: it has what it is guaranteed
    group: float  #: what its group has used per weight; a tenant without one is its own
    tenant: float


def tenant_of(state: State, name: str) -> Tenant:
    """The tenant of that name, made where it is new."""
    return state.tenants.get(name) or state.tenants.setdefault(name, Tenant())


def group_of(state: State, name: str) -> Tenant:
    """The group of that name, made where it is new; it has the account of a tenant."""
    return state.groups.get(name) or state.groups.setdefault(name, Tenant())


class FairShareLine(NamedTuple):
    """Where a tenant stands at one instant, as a function of what it would hold besides what it holds."""

    missing_milli: int  #: so much more is guaranteed to the tenant or its group, or reserved for it
    own: tuple[float, float]  #: usage per weight, and how much more that is for each thousandth of a device
    group: tuple[float, float]

    def key(self, more_milli: int) -> FairShareKey:
        """Return where the tenant would stand if it held ``more_milli`` thousandths of devices more."""
        (used, per_milli), (group_used, group_per_milli) = self.own, self.group
        beyond = more_milli >= self.missing_milli
        return FairShareKey(beyond, group_used + more_milli * group_per_milli, used + more_milli * per_milli)


def fair_share_line(state: State, name: str, now_ms: int) -> FairShareLine:
    """Return where the tenant stands now, whatever it would hold besides."""
    tenant = state.tenants.get(name) or Tenant()
    missing = max(tenant.guaranteed_milli, tenant.reserved_milli) - tenant.held_milli
    own = _per_weight(state, tenant, now_ms)
    group = state.groups.get(tenant.group) if tenant.group else None
    if group is None:
        return FairShareLine(missing, own, own)
    missing = max(missing, group.guaranteed_milli - group.held_milli)
    return FairShareLine(missing, own, _per_weight(state, group, now_ms))


def fair_share_key(state: State, name: str, now_ms: int, more_milli: int = 0) -> FairShareKey:
    """Where the tenant stands now, if it held ``more_milli`` thousandths of devices besides what it holds."""
    return fair_share_line(state, name, now_ms).key(more_milli)


def has_less_than_guaranteed(state: State, name: str) -> bool:
    """Whether the tenant, or its group, holds less than it is guaranteed, whatever it has reserved."""
    return any(account.held_milli < account.guaranteed_milli for account in _account_of(state, name))


def is_limited(state: State, name: str) -> bool:
    """Whether there is any limit to what the tenant, or its group, may hold."""
    tenant = state.tenants.get(name)
    if tenant is None:
        return False
    return tenant.limit_milli is not None or (
        tenant.group is not None and group_of(state, tenant.group).limit_milli is not None
    )


def within_limits(state: State, name: str, more_milli: int) -> bool:
    """Whether the tenant, and its group, may hold so much more."""
    return all(
        account.limit_milli is None or account.held_milli + more_milli <= account.limit_milli
        for account in _account_of(state, name)
    )


def could_be_within_limits(state: State, name: str, milli: int) -> bool:
    """Whether they may hold so much at all, once they hold nothing else: a limit may have been lowered since."""
    return all(account.limit_milli is None or milli <= account.limit_milli for account in _account_of(state, name))


def hold(state: State, name: str, change: ResourceAmounts, now_ms: int) -> None:
    """The tenant holds so much more from now on (less where it is negative)."""
    if now_ms - state.usage_epoch_ms >= _EPOCH_MS:
        move_epoch(state, now_ms)
    tenant = tenant_of(state, name)
    _account(state, tenant, change, now_ms)
    if tenant.group:
        _account(state, group_of(state, tenant.group), change, now_ms)


def join(state: State, name: str, group: str | None, now_ms: int) -> None:
    """The tenant belongs to that group from now on: what it holds counts there, what it has used stays where it was."""
    tenant = tenant_of(state, name)
    if tenant.group == group:
        return
    held = ResourceAmounts(tenant.held_milli, tenant.held_cpu_milli, tenant.held_memory_bytes)
    if tenant.group:
        before = group_of(state, tenant.group)
        before.waiting -= tenant.waiting
        _account(state, before, ResourceAmounts(*(-amount for amount in held)), now_ms)
    tenant.group = group
    if group:
        after = group_of(state, group)
        after.waiting += tenant.waiting
        _account(state, after, held, now_ms)


def wait(state: State, name: str, now_ms: int) -> None:
    """The tenant has one more ticket in the queue."""
    if state.contended_since_ms is None:
        state.contended_since_ms = now_ms
    tenant_of(state, name)
    for account in _account_of(state, name):
        if not account.waiting and not account.share_milli:
            account.served = max(account.served, state.served)
        account.waiting += 1


def served(state: State, name: str, now_ms: int) -> None:
    """One of the tenant's tickets is granted."""
    state.served = max(state.served, _served(state, state.tenants[name], now_ms))
    leave(state, name, now_ms)


def leave(state: State, name: str, now_ms: int) -> None:
    """One of the tenant's tickets is no longer in the queue."""
    tenant = state.tenants[name]
    tenant.waiting -= 1
    if tenant.group:
        group_of(state, tenant.group).waiting -= 1
    if not state.queue and state.contended_since_ms is not None:
        state.contended_ms += max(0, now_ms - state.contended_since_ms)
        state.contended_since_ms = None


def settle(state: State, account: Tenant, now_ms: int) -> None:
    """Count what was held until now at the present weight, which is about to change."""
    _account(state, account, ResourceAmounts(), now_ms)


def move_epoch(state: State, now_ms: int) -> bool:
    """Rescale all usage to a new epoch where the old one is far away; whether it was."""
    if now_ms - state.usage_epoch_ms < _EPOCH_MS:
        return False
    factor = math.exp(-_RATE * (now_ms - state.usage_epoch_ms))
    for account in chain(state.tenants.values(), state.groups.values()):
        account.used = _used(state, account, now_ms) * factor
        account.used_until_ms = max(now_ms, account.used_until_ms)
    state.usage_epoch_ms = now_ms
    return True


def _account_of(state: State, name: str) -> tuple[Tenant, ...]:
    """Of the tenant and of its group."""
    tenant = state.tenants.get(name)
    if tenant is None:
        return ()
    return (tenant, group_of(state, tenant.group)) if tenant.group else (tenant,)


def _account(state: State, account: Tenant, change: ResourceAmounts, now_ms: int) -> None:
    contended_ms = _contended_ms(state, now_ms)
    if account.share_milli:
        account.used = _used(state, account, now_ms)
        account.served += account.share_milli * (contended_ms - account.served_until_ms) / account.weight
    account.used_until_ms = max(account.used_until_ms, now_ms)
    account.served_until_ms = contended_ms
    account.held_milli += change.milli
    account.held_cpu_milli += change.cpu_milli
    account.held_memory_bytes += change.memory_bytes
    account.share_milli = _dominant(state, account)


def _dominant(state: State, account: Tenant) -> int:
    share = account.held_milli
    devices_milli = 1000 * len(state.devices)
    if account.held_cpu_milli and state.cpu_milli:
        of_cpu = devices_milli * account.held_cpu_milli // state.cpu_milli
        share = max(share, of_cpu)
    if account.held_memory_bytes and state.memory_bytes:
        of_memory = devices_milli * account.held_memory_bytes // state.memory_bytes
        share = max(share, of_memory)
    return share


def _per_weight(state: State, account: Tenant, now_ms: int) -> tuple[float, float]:
    """Usage per weight, and how much more it is for each thousandth of a device that is held besides."""
    quantum_ms = state.policy.quantum_ms
    if quantum_ms is not None:
        per_milli = quantum_ms / account.weight
        return _served(state, account, now_ms) + account.share_milli * per_milli, per_milli
    per_milli = ADVANCE_MS * math.exp(_RATE * (now_ms - state.usage_epoch_ms)) * _RATE / account.weight
    return _used(state, account, now_ms) / account.weight + account.share_milli * per_milli, per_milli


def _served(state: State, account: Tenant, now_ms: int) -> float:
    if not account.share_milli:
        return account.served
    # Usage without contention is not counted.
    return (
        account.served + account.share_milli * (_contended_ms(state, now_ms) - account.served_until_ms) / account.weight
    )


def _contended_ms(state: State, now_ms: int) -> int:
    since_ms = state.contended_since_ms
    if since_ms is None or now_ms <= since_ms:
        return state.contended_ms
    return state.contended_ms + now_ms - since_ms


def _used(state: State, account: Tenant, now_ms: int) -> float:
    if not account.share_milli or now_ms <= account.used_until_ms:
        return account.used
    start = _RATE * (account.used_until_ms - state.usage_epoch_ms)
    span = math.expm1(_RATE * (now_ms - account.used_until_ms))
    return account.used + account.share_milli * math.exp(start) * span
