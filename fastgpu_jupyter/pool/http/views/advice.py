"""Views of the advice on the size of a lease."""

from __future__ import annotations

from ....core.sizing.advice import Advice
from ....errors import Message
from ....messages import view_of
from ....wire.schemas import AdviceView


def advice_view(advice: Advice | None, reason: Message | None, *, silenced: bool) -> AdviceView:
    """Return the advice, or the reason for which there is none."""
    if advice is None:
        return {"advice": None, "reason": view_of(reason), "silenced": silenced}
    measured = advice.measured
    return {
        "advice": {
            "size": str(advice.choice.size),
            "rate_micro": advice.choice.rate_micro_per_hour,
            "cells": measured.use.cells,
            "span_ms": measured.span_ms,
            "peak_memory_bytes": advice.peak_bytes,
            "of_memory_bytes": advice.of_bytes,
            "utilization_milli": measured.utilization_milli,
            "saving_milli": advice.saving_milli,
            "basis": view_of(advice.basis),
        },
        "reason": None,
        "silenced": silenced,
    }
