"""What this machine has beside GPUs."""

from __future__ import annotations

import os

import psutil

from ...core.model.entities import HostSpec

#: The embedded pool has one host, and devices name it with the empty text.
HERE = ""


def spec() -> HostSpec:
    """Its processors, as far as this process may use them, and its memory."""
    return HostSpec(HERE, 1000 * len(os.sched_getaffinity(0)), psutil.virtual_memory().total)
