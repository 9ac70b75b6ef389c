"""The launches that are under way in this server, so that a server that stops can end them."""

from __future__ import annotations

import asyncio
import weakref
from typing import Protocol

from jupyter_client.multikernelmanager import MultiKernelManager


class Launch(Protocol):
    """A provisioner between the request for a lease and the end of the launch."""

    def abandon(self) -> None:
        """End the launch if it waits for a grant."""


#: Strong references are those of the kernel managers.
launches: weakref.WeakSet[Launch] = weakref.WeakSet()


async def abandon_launches(kernels: MultiKernelManager, within_s: float = 3.0) -> None:
    """End all launches that wait for a grant, and wait for other launches and for restarts, at most ``within_s``.

    A server that shuts down a kernel between two states fails there and never stops.
    """
    for launch in list(launches):
        launch.abandon()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    # Polled, because jupyter_client has no event for the end of a restart.
    while (launches or not _settled(kernels)) and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _settled(kernels: MultiKernelManager) -> bool:
    return all(kernels.get_kernel(kernel_id).ready.done() for kernel_id in kernels.list_kernel_ids())
