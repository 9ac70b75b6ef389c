"""The metrics of the pool, in the format of Prometheus.

Counting is plain arithmetic on this object, cheap enough for every command. The text, and the library that makes it,
are only needed when a scraper asks. No label names a notebook, a tenant or a lease, so that metrics can be shown to
readers who must not know them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ...core.accounting import meter
from ...core.accounting.budgets import THRESHOLDS
from ...core.model.entities import Instant, PendingReason, State
from ...core.model.events import Event, LeaseGranted
from ...core.model.lifecycle import LeaseState
from ...core.scheduling.queue_report import QueueReport
from ...units import MICRO
from ..devices.driver import DeviceUsage, Sample
from ..standby_budget import StandbyRefusal
from ..supervisor import TASKS
from .standby import NO_STANDBY_KERNELS, StandbyReading

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: Upper bounds of the buckets, in seconds: from a decision in memory to a disk that hangs.
BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """A histogram of durations in seconds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, took_s: float) -> None:
        """Count one duration in seconds."""
        self._counts[bisect_left(BUCKETS_S, took_s)] += 1
        self.sum_s += took_s

    def buckets(self) -> Iterator[tuple[str, int]]:
        """Yield each upper bound with the number of durations up to it, as Prometheus defines buckets."""
        so_far = 0
        for end, count in zip((*map(str, BUCKETS_S), "+Inf"), self._counts, strict=True):
            so_far += count
            yield end, so_far


class EngineReading(NamedTuple):
    """The calls of the engine of a cluster since the start of this pool manager."""

    calls: Mapping[str, int]  #: by method
    unanswered: Mapping[str, int]  #: those that were not answered, likewise
    answers: bool  #: whether it answered the last one


class MetricsSnapshot(NamedTuple):
    """The readings of the pool at the time of a scrape."""

    state: State
    queue: QueueReport
    usage: Sample
    subscribers: int
    connections: int
    accepting: bool
    at: Instant
    foreign: Mapping[str, int]  #: processes without a lease, by device
    failures: Mapping[str, int]  #: internal errors of background tasks, by task
    standby: StandbyReading = NO_STANDBY_KERNELS
    engine: EngineReading | None = None  #: ``None`` in a pool of local devices


class Metrics:
    """The counters since the start of this pool manager."""

    def __init__(self) -> None:
        self.decisions = Histogram()
        self.appends = Histogram()
        self.events: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.cut_subscribers: Counter[str] = Counter({"behind": 0, "stuck": 0})

    def count_decision(self, took_s: float) -> None:
        """Count a decision and its duration."""
        self.decisions.add(took_s)

    def count_append(self, took_s: float) -> None:
        """Count a write to the journal and its duration."""
        self.appends.add(took_s)

    def count_events(self, events: Iterable[Event]) -> None:
        """Count events that are on disk."""
        self.events.update(type(event).__name__ for event in events)

    def count_fault(self, code: str) -> None:
        """Count a fault that a device reported, by its code."""
        self.faults[code] += 1

    def text(self, now: MetricsSnapshot) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(self, now))
        return generate_latest(registry)

    def families(self, now: MetricsSnapshot) -> Iterator[Metric]:
        """Yield all metrics as objects of ``prometheus_client``."""
        yield from self._counted()
        yield _failures(now)
        yield from _devices(now)
        yield from _leases(now)
        yield from _money(now)
        yield from _standby(now.standby)
        if now.engine is not None:
            yield from _engine(now.engine)
        yield _gauge("fastgpu_subscribers", "Readers of the event stream now.", now.subscribers)
        yield _gauge("fastgpu_connections", "Open connections now.", now.connections)
        yield _gauge("fastgpu_accepting", "1 while new leases are granted, 0 while they are not.", now.accepting)

    def _counted(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        grants = self.events[LeaseGranted.__name__]
        yield CounterMetricFamily("fastgpu_grants", "Leases that were granted a logical GPU.", value=grants)
        for name, text, label, counts in (
            ("fastgpu_events", "Events that were journalled, by type.", "type", self.events),
            ("fastgpu_refused_requests", "Requests that were refused, by code of the error.", "code", self.refused),
            ("fastgpu_device_faults", "Faults that devices reported, by code.", "code", self.faults),
            ("fastgpu_cut_subscribers", "Readers that were cut, by why.", "reason", self.cut_subscribers),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for value, count in sorted(counts.items()):
                family.add_metric([value], count)
            yield family
        for name, text, timings in (
            ("fastgpu_decision_seconds", "Time to decide one command.", self.decisions),
            ("fastgpu_journal_append_seconds", "Time to make one batch of commands durable.", self.appends),
        ):
            yield HistogramMetricFamily(name, text, buckets=list(timings.buckets()), sum_value=timings.sum_s)


class _Collector:
    """A collector of one reading, for ``prometheus_client``."""

    def __init__(self, metrics: Metrics, now: MetricsSnapshot) -> None:
        self._metrics = metrics
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the reading."""
        return self._metrics.families(self._now)


def _gauge(name: str, text: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, text, value=value)


def _failures(now: MetricsSnapshot) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    text = "Internal errors of background tasks, which are tried again."
    failures = CounterMetricFamily("fastgpu_failures", text, labels=["task"])
    for part in TASKS:
        failures.add_metric([part], now.failures.get(part, 0))
    return failures


def _devices(now: MetricsSnapshot) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    devices = now.state.devices.values()
    count = GaugeMetricFamily("fastgpu_devices", "Devices by model and health.", labels=["model", "health"])
    for (model, health), number in sorted(Counter((one.spec.model, one.reported_health) for one in devices).items()):
        count.add_metric([model, health], number)
    yield count
    readings: tuple[tuple[str, str, Any], ...] = (
        ("memory_bytes", "Memory of the device.", lambda one: one.spec.memory_bytes),
        ("memory_free_bytes", "Memory that no lease holds.", lambda one: one.free_bytes),
        ("memory_used_bytes", "Memory in use, where the device says it.", lambda one: _usage(now, one)[1]),
        ("utilization_percent", "Utilization, where the device says it.", lambda one: _usage(now, one)[0]),
        ("power_watts", "Power, where the device says it.", lambda one: _thousandth(_usage(now, one)[2])),
        ("energy_joules", "Energy since its driver's start, likewise.", lambda one: _thousandth(_usage(now, one)[3])),
        ("temperature_celsius", "Temperature, where the device says it.", lambda one: _usage(now, one)[4]),
        ("pcie_sent_bytes_per_second", "Sent over PCIe, where it says it.", lambda one: _usage(now, one)[5]),
        ("pcie_received_bytes_per_second", "Received over PCIe, likewise.", lambda one: _usage(now, one)[6]),
    )
    for name, text, read in readings:
        family = GaugeMetricFamily(f"fastgpu_device_{name}", text, labels=["device"])
        for device in devices:
            if (value := read(device)) is not None:
                family.add_metric([device.spec.id], value)
        yield family
    foreign = GaugeMetricFamily(
        "fastgpu_device_foreign_processes", "Processes on the device that have no lease of it.", labels=["device"]
    )
    for device in devices:
        foreign.add_metric([device.spec.id], now.foreign.get(device.spec.id, 0))
    yield foreign


def _usage(now: MetricsSnapshot, device: Any) -> DeviceUsage:
    return now.usage.devices.get(device.spec.id, DeviceUsage(None, None))


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000


def _money(now: MetricsSnapshot) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    state = now.state
    spent_micro = sum(meter.spent_micro(state, name, now.at) for name in state.tenants)
    yield _gauge("fastgpu_spent_this_month", "What all spent this month, in the pool's currency.", spent_micro / MICRO)
    reserved_milli = sum(tenant.reserved_milli for tenant in state.tenants.values())
    yield _gauge("fastgpu_reserved_devices", "Devices that are reserved now.", reserved_milli / 1000)
    passed = Counter(tenant.budget_percent for tenant in state.tenants.values() if tenant.budget_micro is not None)
    budgets = GaugeMetricFamily("fastgpu_budgets", "Budgets of tenants by the threshold passed.", labels=["percent"])
    for percent in (0, *THRESHOLDS):
        budgets.add_metric([str(percent)], passed[percent])
    yield budgets


def _standby(now: StandbyReading) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    totals = now.totals
    yield _gauge("fastgpu_standby_servers", "Jupyter servers that have or want standby kernels.", totals.servers)
    yield _gauge("fastgpu_standby_kernels", "Standby kernels of all Jupyter servers.", totals.kernels)
    yield _gauge("fastgpu_standby_memory_bytes", "Memory of all standby kernels.", totals.memory_bytes)
    budget = GaugeMetricFamily(
        "fastgpu_standby_budget_bytes", "Memory that standby kernels may have, where it is known."
    )
    if totals.budget_bytes is not None:
        budget.add_metric([], totals.budget_bytes)
    yield budget
    text = "Standby kernels that were not started, or had to end, by reason."
    refusals = CounterMetricFamily("fastgpu_standby_refusals", text, labels=["reason"])
    for reason in StandbyRefusal:
        refusals.add_metric([reason.value], now.refusals[reason])
    yield refusals


def _engine(now: EngineReading) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    for name, text, counts in (
        ("fastgpu_engine_calls", "Calls of the engine of the cluster, by method.", now.calls),
        ("fastgpu_engine_unanswered_calls", "Those that it did not answer.", now.unanswered),
    ):
        family = CounterMetricFamily(name, text, labels=["method"])
        for method, count in sorted(counts.items()):
            family.add_metric([method], count)
        yield family
    yield _gauge(
        "fastgpu_engine_answers", "1 while the engine of the cluster answers, 0 while it does not.", now.answers
    )


def _leases(now: MetricsSnapshot) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    states = Counter(lease.state for lease in now.state.leases.values())
    leases = GaugeMetricFamily("fastgpu_leases", "Leases by state; ended ones for an hour.", labels=["state"])
    for state in LeaseState:
        leases.add_metric([state.value], states[state])
    yield leases
    reasons = Counter(entry.reason for entry in now.queue.entries().values())
    waiting = GaugeMetricFamily("fastgpu_waiting_requests", "Requests in the queue by reason.", labels=["reason"])
    for reason in PendingReason:
        waiting.add_metric([reason.value], reasons[reason])
    yield waiting
