"""What one cell used: time on the device, memory, energy and cost, for ``%%fastgpu profile``.

Time and memory of the process come from the pool's samples, one each second; the peak that a framework used comes from
its own counters. Energy is known only where the lease has its device alone. What is not known is shown as not known.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import FastGPUError
from ..messages import joined, say
from ..units import format_duration, format_memory, format_money
from . import memory_peaks
from .cell_cost import Cell, Known, cost_of
from .gate import Gate
from .render import Rendered, rows_table

if TYPE_CHECKING:
    from ..wire.schemas import HistoryView

#: How long the samples of the end of the cell are waited for.
SAMPLES_WITHIN_S = 1.5
#: The longest span that is kept by the second.
SECONDS_KEPT_MS = 300_000


class Use(NamedTuple):
    """What the samples of a span say."""

    known_ms: int  #: how much of the span has samples
    busy_ms: int | None  #: time on the device; None without a sample
    peak_bytes: int | None  #: memory that the process held at most, by the samples


def use_of(history: HistoryView, began_ms: int, ended_ms: int) -> Use:
    """Return what was used between two times, each sample counted by the part of it that is in the span."""
    step, busy, known, peaks = history["resolution_ms"], 0, 0, []
    for index, percent in enumerate(history["utilization_percent"]):
        start = history["started_at"] + index * step
        inside = min(ended_ms, start + step) - max(began_ms, start)
        if inside <= 0:
            continue
        if percent is not None:
            known += inside
            busy += inside * percent // 100
        if (peak := history["memory_used_bytes_max"][index]) is not None:
            peaks.append(peak)
    return Use(known, busy if known else None, max(peaks, default=None))


class Profile:
    """The measurement of one cell, from its begin on."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._lease_id = gate.lease_id
        self._energy = _energy(self._history(since=_now_ms()))
        self._peaks = memory_peaks.begin()

    def end(self, cell: Cell) -> Rendered:
        """Return what the cell used. Asks the pool manager, and waits for its last sample."""
        peaks = memory_peaks.end(self._peaks)
        history = self._history_until(cell)
        use = None if history is None else use_of(history, cell.began_ms, cell.ended_ms)
        rows = [
            (say("label.time"), _duration(cell.duration_ms)),
            (say("label.time_on_gpu"), _time_on_gpu(use, cell.duration_ms)),
            *((say("label.peak_of", framework=peak.framework), _peak(peak.peak_bytes)) for peak in peaks),
            (say("label.peak_in_process"), self._peak_in_process(use)),
            (say("label.energy"), self._energy_text(history)),
            (say("label.cost"), self._cost(cell)),
        ]
        return rows_table(say("title.profile"), rows)

    def _history(self, since: int, resolution: str = "1s") -> HistoryView | None:
        if self._lease_id is None or self._gate.lease_id != self._lease_id:
            return None
        try:
            return self._gate.pool.quick().lease_history(self._lease_id, resolution, since)
        except (FastGPUError, OSError):
            return None

    def _history_until(self, cell: Cell) -> HistoryView | None:
        """Return the history of the cell's time, with its last sample where that comes soon."""
        resolution = "1s" if cell.duration_ms <= SECONDS_KEPT_MS else "1m"
        deadline = time.monotonic() + SAMPLES_WITHIN_S
        while True:
            history = self._history(cell.began_ms - 1000, resolution)
            if history is None or time.monotonic() >= deadline or _covers(history, cell.ended_ms):
                return history
            time.sleep(0.2)

    def _peak_in_process(self, use: Use | None) -> str:
        if use is None or use.peak_bytes is None:
            return say("value.unknown")
        limit = self._gate.view["memory"]["limit_bytes"] if self._gate.view is not None else None
        if limit is None:
            return format_memory(use.peak_bytes)
        return say("value.memory_of", used_bytes=use.peak_bytes, whole=format_memory(limit))

    def _energy_text(self, history: HistoryView | None) -> str:
        view = self._gate.view
        shared = view is not None and view["gpu"] is not None and view["gpu"]["mechanism"] in ("shared", "mps")
        after = _energy(history)
        if self._energy is None or after is None or after < self._energy:
            return say("profile.energy_shared") if shared else say("value.unknown")
        return say("profile.energy", joules=f"{(after - self._energy) / 1000:.0f}")

    def _cost(self, cell: Cell) -> str:
        cost = cost_of(cell, Known.of(self._gate.view))
        if cost.amount_micro is None:
            return joined((say("value.unknown"), f"({cost.note})" if cost.note else None))
        currency = (cell.after or Known.of(self._gate.view) or _NO_CURRENCY).currency
        return joined((format_money(cost.amount_micro, currency), f"({cost.note})" if cost.note else None))


_NO_CURRENCY = Known("", 0, 0, 0, "")


def _covers(history: Mapping[str, Any], until_ms: int) -> bool:
    values: Sequence[int | None] = history["utilization_percent"]
    return bool(history["started_at"] + len(values) * history["resolution_ms"] >= until_ms)


def _energy(history: HistoryView | None) -> int | None:
    return None if history is None else history["energy_millijoule"]


def _peak(peak_bytes: int | None) -> str:
    return say("profile.no_new_peak") if peak_bytes is None else format_memory(peak_bytes)


def _time_on_gpu(use: Use | None, duration_ms: int) -> str:
    if use is None:
        return say("profile.no_samples")
    if use.busy_ms is None:
        return say("profile.too_short")
    busy = _duration(use.busy_ms * duration_ms // max(1, use.known_ms))
    percent = round(100 * use.busy_ms / use.known_ms)
    if use.known_ms < duration_ms * 9 // 10:
        return say("profile.busy_partly", busy=busy, percent=percent, known=_duration(use.known_ms))
    return say("profile.busy", busy=busy, percent=percent)


def _duration(duration_ms: int) -> str:
    return f"{duration_ms} ms" if duration_ms < 10_000 else format_duration(duration_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
