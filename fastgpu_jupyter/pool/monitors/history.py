"""The usage of each lease and each device: the last hour by the second, the last seven days by the minute.

The readings are rings of bytes that grow to a fixed size. They are in memory only: a new pool manager begins with empty
ones, and those of a lease go with the lease. The time is the pool's own, which no change of the wall clock disturbs. A
second without a reading, or with an unknown one, is a gap. A minute has the mean of the known readings, and of memory
the maximum as well.
"""

from __future__ import annotations

from collections.abc import Container
from struct import Struct, calcsize
from typing import NamedTuple

from ...core.model.entities import Instant
from ...wire.schemas import HistoryView
from ..devices.driver import DeviceUsage, Sample

SECOND_MS, MINUTE_MS = 1000, 60_000
SECONDS, MINUTES = 3600, 7 * 24 * 60
RESOLUTIONS = {"1s": SECOND_MS, "1m": MINUTE_MS}
#: Leases and devices with a history, of at most 180 KB each; beyond this number new ones have none.
SERIES_MAX = 1024
_KIB = 1024


class _Field(NamedTuple):
    name: str
    typecode: str  #: of an unsigned number, as in :mod:`struct`
    unit: int = 1  #: the unit of the stored number; memory is in KiB, so that 4 TiB fit

    @property
    def unknown(self) -> int:
        """The largest number, which marks a gap."""
        return int(2 ** (8 * calcsize("<" + self.typecode)) - 1)


UTILIZATION = _Field("utilization_percent", "B")
MEMORY = _Field("memory_used_bytes", "I", _KIB)
MEMORY_MAX = _Field("memory_used_bytes_max", "I", _KIB)
POWER = _Field("power_milliwatt", "I")
TEMPERATURE = _Field("temperature_celsius", "B")
_BY_SECOND = (UTILIZATION, MEMORY, POWER, TEMPERATURE)
_BY_MINUTE = (UTILIZATION, MEMORY, MEMORY_MAX, POWER, TEMPERATURE)


class Ring:
    """A ring of the last ``size`` steps of some fields; the newest step is ``last``."""

    def __init__(self, fields: tuple[_Field, ...], size: int) -> None:
        self._fields = fields
        self._bounds = [(field.unit, field.unknown) for field in fields]
        self._row = Struct("<" + "".join(field.typecode for field in fields))
        self._gap = self._row.pack(*(field.unknown for field in fields))
        self._values: tuple[int | None, ...] = ()  #: the values of the newest step
        self._packed = b""  #: the row of these values
        self._rows = bytearray()
        self._size = size
        self._origin = 0  #: the step at index 0, modulo the size
        self.last = -1

    def __len__(self) -> int:
        return len(self._rows) // self._row.size

    def put(self, step: int, values: tuple[int | None, ...]) -> None:
        """Set the values of ``step``; steps that were left out become gaps. A step before the newest is ignored."""
        if self.last < 0 or step - self.last >= self._size:
            self._rows.clear()
            self._origin, self.last = step, step - 1
        if step < self.last:
            return
        while self.last < step - 1:
            self.last += 1
            self._write(self.last, self._gap)
        self.last = step
        if values != self._values:  # most readings equal the one before, whose row is used again
            # A value that is too large for its field becomes a gap, because a wrong number would be worse.
            numbers = [
                unknown if value is None else min(value // unit, unknown)
                for value, (unit, unknown) in zip(values, self._bounds, strict=True)
            ]
            self._values, self._packed = values, self._row.pack(*numbers)
        self._write(step, self._packed)

    def _write(self, step: int, row: bytes) -> None:
        at = (step - self._origin) % self._size * len(row)
        self._rows[at : at + len(row)] = row  # at the end the ring grows

    def since(self, step: int) -> tuple[int, dict[str, list[int | None]]]:
        """Return the first known step from ``step`` on, or the next one, and each field from it to the newest."""
        first = min(max(step, self.last - len(self) + 1), self.last + 1)
        places = ((one - self._origin) % self._size for one in range(first, self.last + 1))
        rows = [self._row.unpack_from(self._rows, at * self._row.size) for at in places]
        return first, {
            field.name: [None if row[at] == unknown else row[at] * unit for row in rows]
            for at, (field, (unit, unknown)) in enumerate(zip(self._fields, self._bounds, strict=True))
        }


class Series:
    """The history of one lease or one device."""

    def __init__(self) -> None:
        self._seconds = Ring(_BY_SECOND, SECONDS)
        self._minutes = Ring(_BY_MINUTE, MINUTES)
        self._minute = -1
        self._of_minute: list[tuple[int | None, ...]] = []  #: the readings of the current minute
        self.energy_millijoule: int | None = None

    def add(self, ms: int, usage: DeviceUsage) -> None:
        """Add the usage at ``ms``."""
        known = (
            usage.utilization_percent, usage.memory_used_bytes, usage.power_milliwatt, usage.temperature_celsius,
        )  # fmt: skip
        self._seconds.put(ms // SECOND_MS, known)
        if ms // MINUTE_MS != self._minute:
            self._end_minute()
            self._minute, self._of_minute = ms // MINUTE_MS, []
        self._of_minute.append(known)
        self.energy_millijoule = usage.energy_millijoule

    def _end_minute(self) -> None:
        """Store the current minute so far; more readings of it may follow."""
        if self._minute >= 0:
            fields = zip(*self._of_minute, strict=True)
            utilization, memory, power, temperature = ([one for one in field if one is not None] for field in fields)
            most = max(memory, default=None)
            values = (_mean(utilization), _mean(memory), most, _mean(power), _mean(temperature))
            self._minutes.put(self._minute, values)

    def view(self, resolution: str, since: int | None, at: Instant) -> HistoryView:
        """Return the readings from ``since`` on; all times are on the wall clock. Without ``since`` return all."""
        step_ms = RESOLUTIONS[resolution]
        self._end_minute()
        ring = self._seconds if step_ms == SECOND_MS else self._minutes
        to_wall_ms = at.wall_ms - at.ms
        first, fields = ring.since(0 if since is None else max(0, -((to_wall_ms - since) // step_ms)))
        return {
            "resolution_ms": step_ms,
            "started_at": first * step_ms + to_wall_ms,
            "utilization_percent": fields[UTILIZATION.name],
            "memory_used_bytes": fields[MEMORY.name],
            "memory_used_bytes_max": fields.get(MEMORY_MAX.name, fields[MEMORY.name]),
            "power_milliwatt": fields[POWER.name],
            "temperature_celsius": fields[TEMPERATURE.name],
            "energy_millijoule": self.energy_millijoule,
        }


def _mean(known: list[int]) -> int | None:
    return round(sum(known) / len(known)) if known else None


class History:
    """The histories of all leases and devices."""

    def __init__(self) -> None:
        self._leases: dict[str, Series] = {}
        self._devices: dict[str, Series] = {}

    def __len__(self) -> int:
        return len(self._leases) + len(self._devices)

    def add(self, ms: int, sample: Sample) -> None:
        """Add one reading of all leases and devices."""
        for series, usages in ((self._devices, sample.devices), (self._leases, sample.leases)):
            for one, usage in usages.items():
                if one not in series:
                    if len(self) >= SERIES_MAX:
                        continue
                    series[one] = Series()
                series[one].add(ms, usage)

    def keep(self, leases: Container[str], devices: Container[str]) -> None:
        """Remove the histories of all other leases and devices."""
        for series, kept in ((self._leases, leases), (self._devices, devices)):
            for gone in [one for one in series if one not in kept]:
                del series[gone]

    def lease(self, lease_id: str, resolution: str, since: int | None, at: Instant) -> HistoryView:
        """Return the usage of a lease; empty if it has no history."""
        return self._leases.get(lease_id, Series()).view(resolution, since, at)

    def device(self, device_id: str, resolution: str, since: int | None, at: Instant) -> HistoryView:
        """Return the usage of a device; empty if it has no history."""
        return self._devices.get(device_id, Series()).view(resolution, since, at)
