"""The use recorder: measures what the notebooks of leases need, and records it now and then.

A reading each second gives memory and utilization; the kernel reports cells and, where its frameworks count it, the
memory that they needed. A framework that allocates in advance shows what it took, not what it needed: then its own
counters count, with what the process has on the device beside the framework. What was measured becomes a command once
an hour, with the day, and when a lease is not active any more, so that the journal grows slowly.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import NamedTuple

from ...core.accounting import changes
from ...core.lease import use as lease_use
from ...core.model import commands as c
from ...core.model.entities import Instant, State
from ...core.model.lifecycle import LeaseState
from ...core.model.use import MeasuredUse
from ...errors import CallerError, InternalError, LimitReached, StoreFault
from ..devices.driver import DeviceUsage, Sample
from ..protocols import CommandSink, StateReader
from .telemetry import TelemetryMonitor

RECORD_INTERVAL_MS = 3_600_000
#: Readings that are further apart say nothing of the time between them.
GAP_MS_MAX = 5000


class FrameworkCounters(NamedTuple):
    """What the frameworks in a kernel count themselves: the most that they needed, and what they have reserved."""

    peak_bytes: int
    reserved_bytes: int


class LeaseUse:
    """What was measured of one lease since the last record."""

    def __init__(self) -> None:
        self.use = MeasuredUse()
        self.since_ms: int | None = None  #: of the first reading that is not recorded
        self._last_ms: int | None = None
        self._sampled_bytes: int | None = None  #: the most at a reading since the last report of a cell
        self._frameworks: FrameworkCounters | None = None

    def add(self, at_ms: int, usage: DeviceUsage | None, *, busy: bool | None) -> None:
        """Add a reading; ``busy``: whether a cell runs."""
        last_ms, self._last_ms = self._last_ms, at_ms
        self.since_ms = at_ms if self.since_ms is None else self.since_ms
        past_ms = 0 if last_ms is None else at_ms - last_ms
        if not 0 < past_ms <= GAP_MS_MAX:
            return
        memory_bytes = None if usage is None else usage.memory_used_bytes
        percent = None if usage is None else usage.utilization_percent
        known = memory_bytes is not None
        measured = busy is True and percent is not None
        self.use = self.use.plus(
            MeasuredUse(
                busy_ms=past_ms if busy else 0,
                known_ms=past_ms if known else 0,
                unknown_ms=0 if known else past_ms,
                utilization_percent_ms=(percent or 0) * past_ms if measured else 0,
                utilization_known_ms=past_ms if measured else 0,
            )
        )
        if memory_bytes is not None:
            self._sampled_bytes = max(memory_bytes, self._sampled_bytes or 0)
            if not busy:
                self._settle()

    def end_cells(self, cells: int, frameworks: FrameworkCounters | None) -> None:
        """Count cells that ended, with what the frameworks of the process count."""
        self._frameworks = frameworks
        self.use = self.use.plus(MeasuredUse(cells=cells))
        self._settle()

    def take(self) -> MeasuredUse:
        """Return what was measured, and begin again; of a cell that runs only readings are known."""
        use = self.pending
        self.use, self.since_ms, self._sampled_bytes = MeasuredUse(), None, None
        return use

    @property
    def pending(self) -> MeasuredUse:
        """What was measured since the last record."""
        if self._frameworks is not None:  # readings of a cell that runs show what was allocated in advance
            return self.use
        return self.use.plus(MeasuredUse(peak_bytes=self._sampled_bytes))

    def _settle(self) -> None:
        """Turn the readings into what was needed, by the counters of the frameworks where there are any."""
        sampled_bytes, self._sampled_bytes = self._sampled_bytes, None
        if sampled_bytes is None:
            return
        needed_bytes = sampled_bytes
        if self._frameworks is not None:
            peak_bytes, reserved_bytes = self._frameworks
            needed_bytes = peak_bytes + max(0, sampled_bytes - reserved_bytes)
        self.use = self.use.plus(MeasuredUse(peak_bytes=needed_bytes))


class _Measured(NamedTuple):
    """An active lease of a notebook."""

    lease_id: str
    busy: bool | None


class UseRecorder:
    """What was measured of all active leases."""

    def __init__(self, telemetry: TelemetryMonitor, state: StateReader, commands: CommandSink) -> None:
        self._state = state
        self._commands = commands
        self._uses: dict[str, LeaseUse] = {}
        self._sample: tuple[Sample, Instant] | None = None
        self._read = asyncio.Event()
        self._day: int | None = None
        telemetry.observe(self.observe)

    def observe(self, sample: Sample, at: Instant) -> None:
        """Take a reading of all leases; an empty one is unknown."""
        self._sample = sample, at
        self._read.set()

    def end_cells(self, lease_id: str, cells: int, frameworks: FrameworkCounters | None) -> None:
        """Count cells of a lease that ended, with what the frameworks of its kernel count."""
        if lease_id in self._uses:
            self._uses[lease_id].end_cells(cells, frameworks)

    def pending(self, lease_id: str) -> MeasuredUse:
        """Return what was measured of a lease and is not recorded yet."""
        use = self._uses.get(lease_id)
        return MeasuredUse() if use is None else use.pending

    async def check(self) -> None:
        """Wait for the next reading, add it, and record what is due."""
        await self._read.wait()
        self._read.clear()
        assert self._sample is not None
        sample, at = self._sample
        leases = await self._state.read(_watched)
        for lease in leases:
            use = self._uses.setdefault(lease.lease_id, LeaseUse())
            use.add(at.ms, sample.leases.get(lease.lease_id), busy=lease.busy)
        active, day = {lease.lease_id for lease in leases}, changes.day_of(at)
        turned, self._day = self._day not in (None, day), day
        due = [
            lease_id
            for lease_id, use in self._uses.items()
            if turned or lease_id not in active or at.ms - (use.since_ms or at.ms) >= RECORD_INTERVAL_MS
        ]
        await self._record(due)
        for lease_id in due:
            if lease_id not in active:
                del self._uses[lease_id]

    async def record_all(self) -> None:
        """Record everything that was measured, because the pool manager ends."""
        await self._record(list(self._uses))

    async def _record(self, lease_ids: list[str]) -> None:
        await asyncio.gather(*(self._submit(c.RecordUse(name, self._uses[name].take())) for name in lease_ids))

    async def _submit(self, command: c.RecordUse) -> None:
        with suppress(CallerError, StoreFault, LimitReached, InternalError):  # measurements are not worth an error
            await self._commands.submit(command)


def _watched(state: State, _: Instant) -> list[_Measured]:
    """Return the active leases of notebooks."""
    return [
        _Measured(lease.id, lease.busy)
        for lease in state.leases.values()
        if lease.state is LeaseState.ACTIVE and lease_use.is_measured(lease)
    ]
