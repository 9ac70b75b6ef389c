"""The schemas of devices, of what is on them, and of their MIG mode."""

from __future__ import annotations

from typing import TypedDict

from .common import Count, HealthName, LeaseStateName, MechanismName, MessageView, Percent, TenantReference
from .lease import MemoryReading


class AllocationView(TypedDict):
    """The part of a device that one lease holds; names are ``null`` for leases of other tenants."""

    lease_id: str | None
    tenant: TenantReference | None
    notebook: str | None
    job: str | None
    state: LeaseStateName
    memory_bytes: Count
    mine: bool


class UnleasedProcessView(TypedDict):
    """A process that has memory on a device without a lease of that device.

    ``lease_id``: the lease of another device that the process belongs to, if it is the caller's own.
    """

    pid: Count
    user: str
    memory_bytes: Count | None
    lease_id: str | None


class DeviceHealthView(TypedDict):
    """The health of a device and the reason for it.

    ``missing``: its driver does not list it, or does not answer, since ``missing_since``; nothing is known of it.
    """

    state: HealthName
    message: MessageView | None
    missing_since: Count | None


class DeviceMemoryView(TypedDict):
    """Memory of a device; ``free_bytes`` is what no lease holds, which is not what is unused at the moment."""

    total_bytes: Count
    free_bytes: Count
    used_bytes: Count | None


class DeviceUsageView(TypedDict):
    """The utilization of a device at the last reading; ``null`` if it is not known."""

    utilization_percent: Percent | None


class DeviceCapabilitiesView(TypedDict):
    """The mechanisms, the profiles of partitions and the parking that a device offers."""

    mechanisms: list[MechanismName]
    partitions: list[str]
    parkable: bool


class DeviceView(TypedDict):
    """One physical GPU with what holds it and what uses it.

    ``processes_message``: why the processes on it, or some of them, cannot be seen; ``null`` where all are.
    """

    id: str
    index: Count
    model: str
    simulated: bool
    drained: bool
    rate_micro_per_hour: Count
    health: DeviceHealthView
    memory: DeviceMemoryView
    usage: DeviceUsageView
    capabilities: DeviceCapabilitiesView
    allocations: list[AllocationView]
    processes_message: MessageView | None
    unleased_processes: list[UnleasedProcessView]


class DeviceReading(TypedDict):
    """The fields of a device that change each second, in the same groups as in :class:`DeviceView`."""

    id: str
    memory: MemoryReading
    usage: DeviceUsageView


class PartitionModeView(TypedDict):
    """MIG mode of a device, and what is on the device: ``leases`` by id, ``processes`` by number.

    ``processes`` is ``null`` where they cannot be listed; ``pending``: the mode after the next reset of the device;
    ``survives_restart``: whether the mode outlives a restart; ``reset_command``: resets the device.
    """

    device_id: str
    capable: bool
    on: bool
    pending: bool
    needs_reset: bool
    survives_restart: bool
    reset_command: str | None
    leases: list[str]
    processes: list[Count] | None
