"""The report of a standby kernel, as its server reads it."""

from __future__ import annotations

from typing import Any

import msgspec

from ..observed import Observed


def read_observed(report: Any) -> Observed | None:
    """Return the report, decoded from JSON; None if it is not one of this version."""
    try:
        return msgspec.convert(report, Observed)
    except msgspec.ValidationError:
        return None
