"""The processors and the memory of this host."""

from __future__ import annotations

import os

import psutil

from ...core.model.entities import HostSpec

#: The id of the only host of an embedded pool.
HERE = ""


def spec() -> HostSpec:
    """Return the processors that this process may use, and the memory of the host."""
    return HostSpec(HERE, 1000 * len(os.sched_getaffinity(0)), psutil.virtual_memory().total)


def default_parked_bytes(memory_bytes: int) -> int:
    """Return the host memory that parked leases may take unless an administrator says otherwise: half of the host's."""
    return memory_bytes // 2
