"""The schemas of the pool manager itself, of the queue, of histories, and of errors."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from .cluster import PoolClusterView
from .common import (
    Count,
    Integer,
    MessageView,
    Percent,
    Positive,
    PriorityName,
    TenantReference,
    one_of,
)
from .device import DeviceView
from .lease import LeaseView, QueueHolderView

ScopeName = Annotated[str, one_of(("user", "system"))]


class HealthView(TypedDict):
    """The answer of a pool manager that serves."""

    status: Literal["ok"]


class PoolView(TypedDict):
    """The pool manager itself.

    ``id``: that of its journal; where it is another, another pool serves the socket, which knows nothing of the leases.
    ``counters_silent_since``: the time since which no utilization and no use of memory is known, because the driver of
    the devices does not answer; ``null`` while it does. ``carried_over``: the settings of a pool manager that was
    killed, which hold while its leases live; ``null`` where there are none. ``cluster``: the engine that grants its
    leases; ``null`` where the pool leases local devices.
    """

    id: str
    version: str
    scope: ScopeName
    simulated: bool
    currency: str
    started_at: Count
    message: MessageView | None
    accepting: bool
    counters_silent_since: Count | None
    carried_over: MessageView | None
    cluster: PoolClusterView | None


class QueueEntryView(TypedDict):
    """One waiting request; names, and ``holder``, are ``null`` for requests of other tenants."""

    lease_id: str | None
    position: Count
    reason: MessageView
    holder: QueueHolderView | None
    estimate_ms: Count | None
    estimate_basis: MessageView
    size: str
    priority: PriorityName
    memory_bytes: Count | None
    notebook: str | None
    job: str | None
    tenant: TenantReference | None
    waiting_since: Count
    mine: bool


class HistoryView(TypedDict):
    """The usage of a lease or a device, one number for each step of ``resolution_ms`` from ``started_at`` on.

    A number is ``null`` where it is not known. A minute is the mean of its seconds, and ``memory_used_bytes_max`` their
    maximum. Memory is exact to one KiB. ``energy_millijoule`` is that of a device since its driver was loaded, of a
    lease since its first reading; energy, power and temperature are ``null`` where they are not measured, as for a
    lease that shares its device.
    """

    resolution_ms: Positive
    started_at: Integer
    utilization_percent: list[Percent | None]
    memory_used_bytes: list[Count | None]
    memory_used_bytes_max: list[Count | None]
    power_milliwatt: list[Count | None]
    temperature_celsius: list[Integer | None]
    energy_millijoule: Count | None


class StatusView(TypedDict):
    """Pool manager, devices, leases and queue at one instant."""

    pool: PoolView
    devices: list[DeviceView]
    leases: list[LeaseView]
    queue: list[QueueEntryView]


class DeviceList(TypedDict):
    """All devices of the pool."""

    devices: list[DeviceView]


class LeaseList(TypedDict):
    """The caller's leases, including those that ended in the last hour."""

    leases: list[LeaseView]


class QueueList(TypedDict):
    """The queue in order of grant."""

    queue: list[QueueEntryView]


class ProblemView(TypedDict):
    """An error (RFC 9457): ``code`` names its class, ``detail`` is the text of ``message``."""

    type: str
    title: str
    status: Positive
    code: str
    detail: str
    message: MessageView


class IntentView(TypedDict):
    """An intent that was registered, and how the kernel is started under its id.

    ``sessions``: ``POST /api/sessions`` takes ``kernel.id``. ``kernels``: the server is older than 2.21; the kernel is
    started with ``POST /api/kernels`` and ``kernel_id`` first.
    """

    kernel_id: str
    expires_in_ms: Count
    start: Annotated[str, one_of(("sessions", "kernels"))]
