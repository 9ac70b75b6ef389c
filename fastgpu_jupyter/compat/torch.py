"""Private parts of PyTorch. The module is passed in: importing PyTorch takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def call_when_cuda_initializes(torch: Any, callback: Callable[[], None]) -> None:
    """Call ``callback`` when ``torch`` initializes CUDA.

    A call of the public API before that would initialize CUDA at once, which takes seconds and device memory.
    """
    torch.cuda._lazy_call(callback)  # noqa: SLF001 (no public name)


def is_initialized(torch: Any) -> bool:
    """Return whether ``torch`` uses devices already; False for another module of that name."""
    try:
        return bool(torch.cuda.is_initialized())
    except AttributeError:
        return False


def driver_is_loaded() -> bool:
    """Return whether this process has loaded the driver with which PyTorch, among others, finds devices.

    PyTorch loads it with the first question about devices and keeps the answer. A function of PyTorch that told whether
    it has asked would ask itself, and no process that is forked afterwards could use a device.
    """
    try:
        return "/libcuda.so" in Path("/proc/self/maps").read_text(errors="replace")
    except OSError:
        return False
