"""The schema of the advice on the size of a lease."""

from __future__ import annotations

from typing import Annotated, TypedDict

import msgspec

from .common import Count, MessageView

Milli = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class SizeAdvice(TypedDict):
    """A smaller size in which everything measured of a notebook fits, and the measurements.

    ``cells`` ran within ``span_ms``. ``peak_memory_bytes`` is the most memory that was needed of ``of_memory_bytes``,
    which the lease has now; where a framework allocates in advance, its own counters say what it needed.
    ``utilization_milli`` is the mean while cells ran. ``saving_milli`` is the part of the cost in that time that the
    size would have saved. ``basis`` says all of this in one sentence.
    """

    size: str
    rate_micro: Count | None
    cells: Count
    span_ms: Count
    peak_memory_bytes: Count
    of_memory_bytes: Count
    utilization_milli: Milli | None
    saving_milli: Milli
    basis: MessageView


class AdviceView(TypedDict):
    """The advice on the size of a lease, or the reason for which there is none."""

    advice: SizeAdvice | None
    reason: MessageView | None
    silenced: bool
