"""Private parts of ``jupyter_client``."""

from __future__ import annotations

from typing import Any


def forget_pending_kernel(multi_kernel_manager: Any, kernel_id: str) -> bool:
    """Remove a failed launch from the pending kernels of ``multi_kernel_manager``; return whether it was there.

    ``MultiKernelManager`` keeps the launch in ``_pending_kernels`` when ``pre_launch`` of a provisioner raises, and has
    no method to remove it. A server with such an entry cannot stop: ``shutdown_all`` fails on the unknown id.
    """
    pending = getattr(multi_kernel_manager, "_pending_kernels", None)
    return isinstance(pending, dict) and pending.pop(kernel_id, None) is not None
