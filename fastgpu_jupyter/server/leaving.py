"""What a server that is stopped with ``keep_kernels = "always"`` does: it leaves its kernels to the next one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from ..compat.jupyter_client import leave_kernel_running
from .kernel_link import ask
from .kernel_records import ALWAYS, KernelRecords

#: The longest delay of the server's end by a kernel or a connection that does not answer, in seconds.
ANSWER_S = 1.0


async def leave_kernels(server: Any, records: KernelRecords, log: logging.Logger | logging.LoggerAdapter[Any]) -> None:
    """Let the kernels that are kept outlive the shutdown of ``server``, which follows; the others end with it."""
    if records.keep != ALWAYS:
        return
    kernels = server.kernel_manager
    managers = [kernels.get_kernel(kernel_id) for kernel_id in kernels.list_kernel_ids() if kernel_id in records]
    kept = [manager for manager in managers if manager.has_kernel and await manager.is_alive()]
    if not kept:
        return
    # A browser that finds its session gone closes the notebook's connection for good, and one that gets no answer tries
    # again until the next server has adopted the kernel.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(ANSWER_S):
            await server.http_server.close_all_connections()
    await asyncio.gather(*(_leave(manager, records) for manager in kept))
    ids = ", ".join(manager.kernel_id for manager in kept)
    log.info("FastGPU: left running for the next server ('jupyter fastgpu kernels' lists them): %s", ids)


async def _leave(manager: Any, records: KernelRecords) -> None:
    await ask(manager, "fastgpu_keep_request", {}, ANSWER_S)
    await records.changed(manager.kernel_id, detached=True)
    records.forget(manager.kernel_id)
    leave_kernel_running(manager)
