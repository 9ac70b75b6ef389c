"""The services of the pool manager that the HTTP interface uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..identity import TenantNames
from ..monitors.health import HealthMonitor
from ..monitors.inventory import Inventory
from ..monitors.metrics import Metrics
from ..monitors.processes import ProcessMonitor
from ..monitors.standby import StandbyMonitor
from ..monitors.telemetry import TelemetryMonitor
from ..monitors.use import UseRecorder
from ..protocols import (
    AnswerStore,
    CommandSink,
    DeviceAccessReader,
    FaultReader,
    LeaseEnvironmentReader,
    LeaseStatusReader,
    Notifier,
    QueueReader,
)
from ..supervisor import Supervisor
from .statement_reader import StatementReader

if TYPE_CHECKING:  # a pool of local devices does not import it
    from ..clusters.service import ClusterService


class Backend(NamedTuple):
    """What the HTTP interface reads and calls; the composition root fills it."""

    state: QueueReader
    commands: CommandSink
    first_answers: AnswerStore
    notifier: Notifier
    faults: FaultReader
    supervisor: Supervisor
    telemetry: TelemetryMonitor
    use: UseRecorder
    inventory: Inventory
    processes: ProcessMonitor
    health: HealthMonitor
    standby: StandbyMonitor
    environment: LeaseEnvironmentReader
    device_access: DeviceAccessReader
    scrubbing: LeaseStatusReader
    statements: StatementReader
    metrics: Metrics
    names: TenantNames
    pool_id: str
    cluster: ClusterService | None = None  #: set exactly where an engine grants the leases
