"""The idle monitor: reports to the core when the device of a lease becomes idle, and when it is used again.

What the readings show is compared with the state each second, and only a difference becomes a command, so that neither
a restart of the pool manager nor a command that failed loses anything. While a cell runs nothing is reported. A reading
that is missing or unknown counts as use.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import NamedTuple

from ...core.lease.idle_window import IdleWindow
from ...core.model import commands as c
from ...core.model.entities import IdlePolicy, Instant, State
from ...core.model.lifecycle import LeaseState
from ...errors import CallerError, InternalError, LimitReached, StoreFault
from ..devices.driver import Sample
from ..protocols import CommandSink, StateReader
from .telemetry import TelemetryMonitor


class _Watched(NamedTuple):
    """A lease that has a device, and what the state says of its use."""

    lease_id: str
    generation: int
    parking: bool
    resting: bool  #: no cell runs
    known_idle: bool
    confirmed: bool  #: by readings of this pool manager


class _Readings:
    """The readings of one lease, and what was reported of them."""

    def __init__(self) -> None:
        self.window = IdleWindow()
        self.missed = False  #: the last reading has nothing of the lease
        self.reported_ms: int | None = None  #: since when the readings were low when that was reported


class IdleMonitor:
    """The readings of all active leases; wire :meth:`observe` to the telemetry monitor."""

    def __init__(self, telemetry: TelemetryMonitor, state: StateReader, commands: CommandSink) -> None:
        self._state = state
        self._commands = commands
        self._policy = IdlePolicy()
        self._readings: dict[str, _Readings] = {}
        self._at_ms = 0
        self._read = asyncio.Event()
        telemetry.observe(self.observe)

    def observe(self, sample: Sample, at: Instant) -> None:
        """Add a reading of all leases; an empty one is unknown."""
        for lease_id in sample.leases:
            self._readings.setdefault(lease_id, _Readings())
        for lease_id, one in self._readings.items():
            usage = sample.leases.get(lease_id)
            one.missed = usage is None
            if usage is not None:
                one.window.add(at.ms, usage.utilization_percent, self._policy.utilization_percent)
        self._at_ms = at.ms
        self._read.set()

    async def check(self) -> None:
        """Wait for the next reading, and report what it changes."""
        await self._read.wait()
        self._read.clear()
        self._policy, leases = await self._state.read(_watched)
        known = self._readings
        self._readings = {lease.lease_id: known.get(lease.lease_id) or _Readings() for lease in leases}
        reports = [report for lease in leases if (report := self._difference(lease)) is not None]
        await asyncio.gather(*map(self._submit, reports))

    def _difference(self, lease: _Watched) -> c.ReportGPUUse | None:
        """Return the report that makes the state agree with the readings, ``None`` where it does."""
        one = self._readings[lease.lease_id]
        if lease.parking:
            one.window.pass_over(self._at_ms)
            return None
        if one.missed:
            one.window.add(self._at_ms, None, self._policy.utilization_percent)
        low_ms = one.window.low_since_ms
        if lease.known_idle and (low_ms is None or (lease.confirmed and low_ms != one.reported_ms)):
            return c.ReportGPUUse(lease.lease_id, lease.generation, None)
        since_ms = one.window.idle_since_ms(self._policy.window_ms)
        if since_ms is None or not lease.resting or (lease.known_idle and lease.confirmed):
            return None
        one.reported_ms = low_ms
        return c.ReportGPUUse(lease.lease_id, lease.generation, since_ms)

    async def _submit(self, report: c.ReportGPUUse) -> None:
        with suppress(CallerError, StoreFault, LimitReached, InternalError):  # compared again a second later
            await self._commands.submit(report)


def _watched(state: State, _: Instant) -> tuple[IdlePolicy, list[_Watched]]:
    """Return the policy, and the leases whose processes may use their devices."""
    return state.policy.idle_policy, [
        _Watched(
            lease.id,
            lease.logical_gpu.generation,
            lease.state is LeaseState.PARKING,
            lease.busy is False,
            lease.gpu_idle_since_ms is not None,
            lease.gpu_idle_confirmed,
        )
        for lease in state.leases.values()
        if lease.state in (LeaseState.ACTIVE, LeaseState.PARKING) and lease.logical_gpu is not None
    ]
