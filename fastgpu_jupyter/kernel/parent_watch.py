"""What a kernel does when the process that started it ends."""

from __future__ import annotations

from typing import Any


def start(_app: Any) -> bool:
    """Return whether ``app`` needs no poller of ipykernel, which ends the kernel when its parent process has ended."""
    return False
