"""The rights by which a waiting request may preempt an active lease.

Only leases that may be parked are preempted: their users allow it (``Retention.YIELD``) and their devices can. Of
these,

* a lease whose kernel has reported that no cell runs yields at once to a request of its own tenant that needs a device
  now and is not of a job, and after a while (``Policy.idle_ms``) to any request (:mod:`..placement.idleness`);
* a lease that computes yields to a request of a higher priority that needs a device now, and to a tenant that has less
  than it is guaranteed, unless its own tenant would then have less than that as well;
* a lease that has computed for a whole turn (``Policy.quantum_ms``, where an administrator has set one) yields to a
  tenant that has had less.

A lease that was preempted by priority waits where it was in the queue, and the one that took its device yields it only
once it is idle. So a lease is preempted by priority at most once in ``Policy.idle_ms`` for the sake of one other lease.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from itertools import chain
from typing import NamedTuple

from ..accounting import fairshare, meter
from ..accounting.fairshare import FairShareKey
from ..accounting.reservation_coverage import DeviceModel, is_of
from ..model.entities import Lease, ParkReason, Priority, Requirements, Retention, State
from ..placement import device_share, idleness
from ..placement.parkability import logical_gpu_of, may_park
from .max_tree import HIGHEST, LOWEST


class PreemptibleLease(NamedTuple):
    """An active lease that may be parked for a request with the right to it."""

    lease: Lease
    idle: bool  #: it yields to any request
    turn_is_over: bool
    yields_to_own_tenant: bool = False  #: no cell runs, and its tenant needs a device now

    @classmethod
    def of(cls, state: State, lease: Lease, now_ms: int, in_need: Container[str]) -> PreemptibleLease:
        """Return the lease with what decides who may preempt it; ``in_need``: tenants that need a device now."""
        quantum_ms, idle_at_ms = state.policy.quantum_ms, idleness.idle_at_ms(state, lease)
        turn_ms = 0 if lease.active_since_ms is None else now_ms - lease.active_since_ms
        return cls(
            lease,
            idle=idle_at_ms is not None and now_ms >= idle_at_ms,
            turn_is_over=quantum_ms is not None and turn_ms >= quantum_ms,
            yields_to_own_tenant=idle_at_ms is not None and lease.tenant in in_need,
        )


def preemptible_by_device(
    state: State, highest: Priority, parkable: Iterable[str], now_ms: int, in_need: Collection[str] = ()
) -> dict[str, list[PreemptibleLease]]:
    """Return, by device, the leases that some waiting request could have a right to.

    ``highest``: the highest priority of the waiting requests; ``parkable``: ids of active leases that can park;
    ``in_need``: tenants that need a device now, beside those of waiting requests.
    """
    tenants_and_groups = chain(state.tenants.values(), state.groups.values())
    guarantees = any(one.guaranteed_milli or one.reserved_milli for one in tenants_and_groups)
    found: dict[str, list[PreemptibleLease]] = {}
    leases = [state.leases[lease_id] for lease_id in parkable]
    resting = any(idleness.is_resting(state, lease) for lease in leases)
    in_need = {*idleness.tenants_in_need(state), *in_need} if resting else in_need
    for lease in leases:
        one = PreemptibleLease.of(state, lease, now_ms, in_need)
        claimable = one.idle or one.yields_to_own_tenant or one.turn_is_over or guarantees
        claimable = claimable or lease.request.priority < highest
        if claimable and lease.request.retention is Retention.YIELD and may_park(state, lease, now_ms):
            for device_id in logical_gpu_of(lease).device_ids:
                found.setdefault(device_id, []).append(one)
    return found


class Rights(NamedTuple):
    """What claimants with the same rights but for their fair share have in common."""

    priority: Priority
    below_guarantee: bool
    needs_now: bool


class Claimant:
    """A waiting request, and what it has a right to."""

    def __init__(self, state: State, lease: Lease, milli: int, now_ms: int) -> None:
        """``milli``: thousandths of devices that the request takes."""
        self._state = state
        self._now_ms = now_ms
        self._tenant = lease.tenant
        self._milli = milli
        self._key: FairShareKey | None = None
        self.requirements: Requirements = lease.requirements
        self._takes_resting = lease.request.job is None
        below_guarantee = not fairshare.fair_share_key(state, lease.tenant, now_ms).beyond
        self.rights = Rights(lease.request.priority, below_guarantee, idleness.needs_now(lease))
        #: Models of devices that are reserved for the tenant and that it does not hold; ``None``: any will do.
        self._reserved_models: list[str | None] | None = None
        if below_guarantee and not fairshare.has_less_than_guaranteed(state, lease.tenant):
            unused = meter.unused(state, lease.tenant, state.leases.values())
            self._reserved_models = [state.reservations[name].model for name, left in unused.items() if left]

    def right_to(self, preemptible: PreemptibleLease) -> ParkReason | None:
        """Return the reason for which the request may preempt a lease, or ``None`` where it may not."""
        lease, priority = preemptible.lease, self.rights.priority
        own = preemptible.yields_to_own_tenant and self._takes_resting and self._tenant == lease.tenant
        if preemptible.idle or own:
            return ParkReason.IDLE
        if priority > lease.request.priority and self.rights.needs_now:
            return ParkReason.PRIORITY
        if priority < lease.request.priority or self._tenant == lease.tenant:
            return None
        if self._is_entitled_to(lease) and exceeds_guarantee_without(self._state, lease, self._now_ms):
            return ParkReason.GUARANTEE
        if preemptible.turn_is_over and self.key() < fairshare.fair_share_key(self._state, lease.tenant, self._now_ms):
            return ParkReason.FAIRNESS
        return None

    def key(self) -> FairShareKey:
        """Return the fair-share key that the tenant would have with what the request takes."""
        if self._key is None:
            self._key = fairshare.fair_share_key(self._state, self._tenant, self._now_ms, self._milli)
        return self._key

    def _is_entitled_to(self, lease: Lease) -> bool:
        """Return whether the tenant has less than it is guaranteed, or than it has reserved of such devices."""
        if not self.rights.below_guarantee or self._reserved_models is None:
            return self.rights.below_guarantee
        spec = self._state.devices[logical_gpu_of(lease).device_id].spec
        return any(is_of(model, [DeviceModel(spec.model, spec.memory_bytes)]) for model in self._reserved_models)


def exceeds_guarantee_without(state: State, lease: Lease, now_ms: int) -> bool:
    """Return whether the lease's tenant would have what it is guaranteed without the lease."""
    return fairshare.fair_share_key(state, lease.tenant, now_ms, -device_share.held_milli(state, lease)).beyond


def key_to_preempt(state: State, preemptible: PreemptibleLease, rights: Rights, now_ms: int) -> FairShareKey:
    """Return the key that a claimant must be below to have a right to a lease.

    It is never lower than what :meth:`Claimant.right_to` requires, so that a claimant above it need not be compared.
    """
    lease = preemptible.lease
    if preemptible.idle or preemptible.yields_to_own_tenant:
        return HIGHEST
    if lease.request.priority < rights.priority and rights.needs_now:
        return HIGHEST
    if lease.request.priority > rights.priority:
        return LOWEST
    if rights.below_guarantee and exceeds_guarantee_without(state, lease, now_ms):
        return HIGHEST
    return fairshare.fair_share_key(state, lease.tenant, now_ms) if preemptible.turn_is_over else LOWEST
