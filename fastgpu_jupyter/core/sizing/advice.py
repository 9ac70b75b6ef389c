"""Advice on the size of a lease, from what was measured of its notebook.

A smaller size is named only where everything fits that was measured on all days: the most memory that was needed plus
a margin, and the mean utilization. There must be enough cells and enough time with a cell, and the memory must have
been known nearly all the time. Otherwise the reason is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...errors import Message
from ...units import GIB, MS_PER_HOUR
from ..lease import use as lease_use
from ..model.entities import Instant, Lease, State
from ..model.lifecycle import LeaseState
from ..model.size import SizeEffect
from ..model.use import MeasuredUse
from .options import SizeChoice

#: So many cells must have run, and for so long in all: one short cell shows nothing.
CELLS_MIN, BUSY_MS_MIN = 8, 20 * 60_000
#: The part of the time in which the memory in use may be unknown, in thousandths.
UNKNOWN_MILLI_MAX = 50
#: What a size must have beyond the most memory that was needed: a fifth of it, and this at least.
MARGIN_DIVISOR, MARGIN_BYTES_MIN = 5, GIB
#: A size that would have saved less, in thousandths of the cost, is not worth the change.
SAVING_MILLI_MIN = 100
_DAY_MS = 86_400_000


class Measured(NamedTuple):
    """Everything that was measured of a notebook."""

    use: MeasuredUse
    span_ms: int  #: from the first measurement to the last
    active_ms: int
    cost_numerator: int

    @property
    def utilization_milli(self) -> int | None:
        """The mean utilization while cells ran; ``None`` where it was unknown half of that time or longer."""
        use = self.use
        if 2 * use.utilization_known_ms <= use.busy_ms:
            return None
        return min(1000, 10 * use.utilization_percent_ms // use.utilization_known_ms)


class Advice(NamedTuple):
    """A smaller size, and why it would do."""

    choice: SizeChoice
    measured: Measured
    peak_bytes: int
    of_bytes: int
    saving_milli: int

    @property
    def basis(self) -> Message:
        """The measurements and the saving, and whether the size needs a new request."""
        peak = _peak_of(self.measured, self.peak_bytes, self.of_bytes)
        size, saving_percent = str(self.choice.size), self.saving_milli // 10
        if self.choice.effect is SizeEffect.NOW:
            return Message.of("advice.basis", peak=peak, size=size, saving_percent=saving_percent)
        return Message.of("advice.basis_new_job", peak=peak, size=size, saving_percent=saving_percent)


def is_silenced(state: State, lease: Lease) -> bool:
    """Return whether the user wants no advice for the notebook of the lease."""
    known = state.notebooks.get(lease.tenant, {}).get(lease.request.notebook or "")
    return known is not None and known.silenced


def measured_of(state: State, lease: Lease, pending: MeasuredUse, at: Instant) -> Measured | None:
    """Return what was measured of the notebook of the lease, with what was not recorded yet; ``None``: nothing."""
    known = state.notebooks.get(lease.tenant, {}).get(lease.request.notebook or "")
    days = list(known.days.values()) if known is not None else []
    use = pending
    for day in days:
        use = use.plus(day.use)
    if not (use.cells or use.known_ms or use.unknown_ms):
        return None
    first_ms = min((day.first_wall_ms for day in days), default=at.wall_ms - pending.known_ms)
    last_ms = at.wall_ms if pending.known_ms else max((day.last_wall_ms for day in days), default=at.wall_ms)
    active_ms, cost_numerator = lease_use.unrecorded(lease, at)
    active_ms += sum(day.active_ms for day in days)
    cost_numerator += sum(day.cost_numerator for day in days)
    return Measured(use, max(0, last_ms - first_ms), active_ms, cost_numerator)


def advise(
    state: State, lease: Lease, measured: Measured | None, choices: Sequence[SizeChoice] | None
) -> tuple[Advice | None, Message | None]:
    """Return the advice on the size of a lease, or ``None`` and the reason.

    ``choices`` are the sizes that the lease can have or, where an engine granted it, those that a new request can have;
    ``None`` while the engine has not said.
    """
    if not lease_use.is_measured(lease):
        return None, Message.of("advice.no_notebook")
    if is_silenced(state, lease):
        return None, Message.of("advice.silenced")
    gpu = lease.logical_gpu
    if lease.state is not LeaseState.ACTIVE or gpu is None:
        return None, Message.of("advice.not_active")
    if not gpu.memory_bytes:  # an engine does not say how much it is
        return None, Message.of("advice.memory_unknown")
    if gpu.more_device_ids:
        return None, Message.of("advice.several_devices")
    if measured is None:
        return None, Message.of("advice.no_history")
    use = measured.use
    if use.cells < CELLS_MIN or use.busy_ms < BUSY_MS_MIN:
        return None, Message.of(
            "advice.too_little", cells=use.cells, busy_ms=use.busy_ms, cells_min=CELLS_MIN, least_ms=BUSY_MS_MIN
        )
    if use.peak_bytes is None or 1000 * use.unknown_ms > UNKNOWN_MILLI_MAX * (use.known_ms + use.unknown_ms):
        return None, Message.of("advice.memory_unknown")
    if choices is None:
        return None, Message.of("advice.sizes_unknown")
    effect = SizeEffect.NOW if lease.cluster_job is None else SizeEffect.QUEUED
    offered = [choice for choice in choices if choice.effect is effect]
    return _smaller_size(measured, use.peak_bytes, gpu.memory_bytes, offered)


def needed_bytes(peak_bytes: int) -> int:
    """Return the memory that a size must have so that ``peak_bytes`` fit with the margin."""
    return peak_bytes + max(peak_bytes // MARGIN_DIVISOR, MARGIN_BYTES_MIN)


def _smaller_size(
    measured: Measured, peak_bytes: int, of_bytes: int, choices: Sequence[SizeChoice]
) -> tuple[Advice | None, Message | None]:
    needed, utilization_milli = needed_bytes(peak_bytes), measured.utilization_milli
    fits = Message.of("advice.fits", peak=_peak_of(measured, peak_bytes, of_bytes))
    for choice in sorted(choices, key=lambda one: one.memory_bytes):
        if not needed <= choice.memory_bytes < of_bytes:
            continue
        if utilization_milli is not None and utilization_milli * of_bytes > 1000 * choice.memory_bytes:
            continue  # it would compute more slowly
        saving_milli = _saving_milli(measured, choice.rate_micro_per_hour)
        if saving_milli is None or saving_milli < SAVING_MILLI_MIN:
            continue
        return Advice(choice, measured, peak_bytes, of_bytes, saving_milli), None
    return None, fits


def _saving_milli(measured: Measured, rate_micro_per_hour: int | None) -> int | None:
    """Return which part of what was billed another rate would have saved; ``None`` where nothing was billed."""
    if rate_micro_per_hour is None or measured.cost_numerator <= 0:
        return None
    return 1000 - 1000 * rate_micro_per_hour * measured.active_ms // measured.cost_numerator


def _peak_of(measured: Measured, peak_bytes: int, of_bytes: int) -> Message:
    days = -(-measured.span_ms // _DAY_MS)
    span = Message.of("advice.days", days=days) if measured.span_ms >= _DAY_MS else _hours(measured.span_ms)
    utilization_milli = measured.utilization_milli
    use = (
        Message.of("advice.utilization_unknown")
        if utilization_milli is None
        else Message.of("advice.utilization", used_percent=utilization_milli // 10)
    )
    return Message.of(
        "advice.peak", cells=measured.use.cells, span=span, peak_bytes=peak_bytes, of_bytes=of_bytes, use=use
    )


def _hours(span_ms: int) -> Message:
    return Message.of("advice.time", span_ms=max(span_ms, MS_PER_HOUR // 60))
