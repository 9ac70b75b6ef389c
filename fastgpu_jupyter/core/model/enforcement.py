"""Who enforces the memory limit of a lease, and to what it applies."""

from __future__ import annotations

from enum import StrEnum


class Enforcement(StrEnum):
    """What enforces the memory limit of a lease."""

    HARDWARE = "hardware"
    DRIVER = "driver"
    USERSPACE = "userspace"
    COOPERATIVE = "cooperative"
    NONE = "none"


class LimitScope(StrEnum):
    """To what a memory limit applies."""

    LEASE = "lease"  #: to all processes of the lease together
    PROCESS = "process"  #: to each of them separately
