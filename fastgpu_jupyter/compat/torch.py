"""Private parts of PyTorch. The module is passed in: importing PyTorch takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def call_when_cuda_initializes(torch: Any, callback: Callable[[], None]) -> None:
    """Call ``callback`` when ``torch`` initializes CUDA.

    A call of the public API before that would initialize CUDA at once, which takes seconds and device memory.
    """
    torch.cuda._lazy_call(callback)  # noqa: SLF001 (no public name)
