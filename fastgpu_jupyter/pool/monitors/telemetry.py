"""The telemetry monitor: reads the device counters once a second and keeps the newest reading and the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ...core.model.entities import Instant, State
from ...core.model.lifecycle import LeaseState
from ..devices.driver import DeviceUsage, Sample, SampledLease
from ..protocols import ChangePublisher, StateReader
from .history import History
from .process_owners import DeviceAssignments, ProcessOwnership, assignments_of
from .sampler import Reading, Sampler

SAMPLE_INTERVAL_S = 1.0


class _Known(NamedTuple):
    """The leases and devices of a state."""

    lease_ids: frozenset[str]
    device_ids: frozenset[str]


class TelemetryMonitor:
    """The newest reading of all counters, and the history of the readings."""

    def __init__(
        self,
        sampler: Sampler,
        history: History,
        state: StateReader,
        changes: ChangePublisher,
        elsewhere: Callable[[], Mapping[str, DeviceUsage]] = dict,
    ) -> None:
        """``elsewhere`` returns what leases on other hosts use, as last measured there."""
        self._elsewhere = elsewhere
        self._sampler = sampler
        self._state = state
        self._changes = changes
        self._listeners: list[Callable[[], None]] = []
        self._observers: list[Callable[[Sample, Instant], None]] = []
        self._reading = Reading(Sample(), {})
        self._silent_since: int | None = None
        self.history = history

    @property
    def usage(self) -> Sample:
        """What leases and devices use now; empty while the driver does not answer."""
        return self._reading.sample

    @property
    def ownership(self) -> Mapping[str, ProcessOwnership]:
        """The owners of the processes that were listed with the newest reading, by device."""
        return self._reading.owned

    @property
    def silent_since(self) -> int | None:
        """The time on the wall clock since which the counters cannot be read; ``None`` while they can."""
        return self._silent_since

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each reading that readers of the event stream are to see."""
        self._listeners.append(listener)

    def observe(self, observer: Callable[[Sample, Instant], None]) -> None:
        """Call ``observer`` with each reading and its time; the reading is empty where the driver did not answer."""
        self._observers.append(observer)

    async def sample(self) -> None:
        """Take one reading, then pause until the middle of the next second, so that each second has one reading."""
        subjects, assignments, known = await self._state.read(_sampled_leases)
        reading = None
        try:
            reading = await self._sampler.sample(subjects, assignments)
        finally:  # also where it failed: the last reading is no longer true
            self._record(reading, known, self._state.now())
        interval_s = SAMPLE_INTERVAL_S
        await asyncio.sleep(interval_s - (self._state.now().ms / 1000 + interval_s / 2) % interval_s)

    def close(self) -> None:
        """Return at once; a reading that hangs is left behind."""
        self._sampler.close()

    def _record(self, reading: Reading | None, known: _Known, at: Instant) -> None:
        """Keep ``reading``; without one nothing is known, because the last one is no longer true."""
        before, self._reading = self._reading.sample, reading or Reading(Sample(), {})
        self.usage.leases.update(self._elsewhere())
        self.history.add(at.ms, self.usage)
        for observer in self._observers:
            observer(self.usage, at)
        self.history.keep(known.lease_ids, known.device_ids)
        silent_s = self._sampler.silent_since_s
        if (silent_s is None) != (self._silent_since is None):
            ago_ms = 0 if silent_s is None else round(1000 * (asyncio.get_running_loop().time() - silent_s))
            self._silent_since = None if silent_s is None else at.wall_ms - ago_ms
            self._changes.publish_pool()
        # Once more after the last lease, so that readers do not keep the usage of a lease that ended.
        if self.usage.leases or self.usage != before:
            for listener in self._listeners:
                listener()


def _sampled_leases(state: State, _: Instant) -> tuple[list[SampledLease], DeviceAssignments, _Known]:
    """Return the leases to sample, the leases whose processes may be on a device, and all that have a history."""
    subjects = [
        SampledLease(lease.id, lease.holder.pid, lease.logical_gpu)
        for lease in state.leases.values()
        if lease.state is LeaseState.ACTIVE and lease.logical_gpu is not None and lease.cluster_job is None
    ]
    return subjects, assignments_of(state), _Known(frozenset(state.leases), frozenset(state.devices))
