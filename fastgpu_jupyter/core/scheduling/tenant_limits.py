"""Whether the tenant of a waiting request may hold more, by its limits, its budget and the reservations of others."""

from __future__ import annotations

from ..accounting import budgets, fairshare
from ..model.entities import Lease, State
from ..placement import device_share, eligibility
from ..placement.device_share import Devices


def may_hold_more(state: State, lease: Lease, now_ms: int, devices: State | None = None) -> bool:
    """Return whether the tenant may hold what the request takes at least, and has the money for it.

    ``devices``: a state with a device of each kind, where there is one, which is quicker.
    """
    if fairshare.is_limited(state, lease.tenant):
        wanted = eligibility.nominal_milli(devices or state, lease.requirements)
        if not fairshare.within_limits(state, lease.tenant, wanted):
            return False
    return budgets.may_spend(state, lease.tenant, now_ms)


def may_hold(state: State, lease: Lease, devices: Devices) -> bool:
    """Return whether the tenant may hold what the request takes of those devices."""
    if not fairshare.is_limited(state, lease.tenant):
        return True
    return fairshare.within_limits(state, lease.tenant, device_share.milli(lease.request.size, devices))


def blocks_tenant(state: State, lease: Lease) -> bool:
    """Return whether a request that exceeds the limits now blocks the later requests of its tenant.

    It does, so that smaller requests do not keep the tenant at its limit for ever; but not where the request would
    exceed the limits even if its tenant held nothing else.
    """
    wanted = eligibility.nominal_milli(state, lease.requirements)
    return fairshare.could_be_within_limits(state, lease.tenant, wanted)
