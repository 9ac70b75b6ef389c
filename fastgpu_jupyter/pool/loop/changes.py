"""Which leases and devices the events of a commit changed, for the readers of the event stream."""

from __future__ import annotations

from collections.abc import Iterable

from ...core.model.entities import State
from ...core.model.events import (
    BudgetSet,
    BudgetThresholdPassed,
    DeviceAppeared,
    DeviceHealthChanged,
    DeviceMissing,
    Event,
    MonthBegan,
)
from ..protocols import Changes


def changes_of(events: Iterable[Event], state: State) -> Changes:
    """Return the leases and devices that ``events`` changed; ``state`` is the one after them."""
    events = list(events)
    lease_ids = frozenset(filter(None, (getattr(event, "lease_id", None) for event in events)))
    tenants = _tenants_with_budget_changes(events, state)
    if tenants:
        lease_ids |= {lease.id for lease in state.leases.values() if lease.tenant in tenants}
    device_ids: set[str | None] = {getattr(event, "device_id", None) for event in events}
    appeared = {event.spec.id for event in events if isinstance(event, DeviceAppeared)}
    changed = {event.device_id for event in events if isinstance(event, DeviceHealthChanged | DeviceMissing)} | appeared
    lease_ids |= {name for one in changed if one in state.devices for name in state.devices[one].lease_ids}
    for lease_id in lease_ids:
        lease = state.leases.get(lease_id)
        device_ids.update(lease.logical_gpu.local_device_ids if lease and lease.logical_gpu else ())
    return Changes(lease_ids, frozenset(filter(None, device_ids | appeared)))


def _tenants_with_budget_changes(events: Iterable[Event], state: State) -> set[str]:
    """Return the tenants whose leases have another message about money than before."""
    tenants: set[str] = set()
    for event in events:
        match event:
            case BudgetSet(tenant=tenant) | BudgetThresholdPassed(tenant=tenant):
                tenants.add(tenant)
            case MonthBegan():
                tenants.update(name for name, one in state.tenants.items() if one.budget_micro is not None)
    return tenants


class LeaseDeviceTracker:
    """The devices that each lease was last seen on, because a lease that leaves a device changes that device, too."""

    def __init__(self, state: State) -> None:
        self._devices = {lease_id: _devices_of(state, lease_id) for lease_id in state.leases}

    def update(self, changes: Changes, state: State) -> Changes:
        """Return ``changes`` with the devices that its leases have left; ``state`` is the one after them."""
        left: set[str] = set()
        for lease_id in changes.lease_ids:
            left.update(self._devices.pop(lease_id, ()))
            if devices := _devices_of(state, lease_id):
                self._devices[lease_id] = devices
        device_ids = changes.device_ids | left
        # Only a snapshot tells readers that a device is no more.
        return changes._replace(device_ids=device_ids, pool=changes.pool or not device_ids <= state.devices.keys())


def _devices_of(state: State, lease_id: str) -> tuple[str, ...]:
    lease = state.leases.get(lease_id)
    return lease.logical_gpu.local_device_ids if lease and lease.logical_gpu else ()
