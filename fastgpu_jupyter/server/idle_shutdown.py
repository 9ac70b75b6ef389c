"""Shut down kernels that the idle policy of the pool manager says are to be shut down.

A kernel is a child of this server, and the pool manager ends none. This looks at the leases of this server's kernels at
regular intervals. Before a kernel is shut down, its lease is ended by a call that the pool manager refuses if a cell
began meanwhile. A kernel whose lease was released before is shut down at its time unless it did anything since.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..core.model.lifecycle import OVER
from ..errors import Conflict, FastGPUError, NotFound
from ..messages import text_of
from ..text import printable
from ..wire.client import PoolClient
from .provisioner import FastGPUProvisioner
from .threads import in_thread

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView

SHUT_DOWN = "shut_down"


class IdleShutdown:
    """Shuts down idle kernels of one server."""

    def __init__(
        self,
        connect: Callable[[], PoolClient],
        kernels: Callable[[], Mapping[str, Any]],
        shut_down: Callable[[str], Awaitable[None]],
        log: logging.Logger,
    ) -> None:
        """Take what returns a client and starts no pool manager, the kernel managers by id, and what shuts one down."""
        self._connect = connect
        self._kernels = kernels
        self._shut_down = shut_down
        self._log = log
        #: When kernels are due whose lease was released, on the wall clock, and when it was.
        self._released: dict[str, tuple[int, int]] = {}

    async def run(self, interval_s: float) -> None:
        """Check again and again, until this is cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.check()
            except FastGPUError as error:
                self._log.debug("Idle kernels were not looked for: %s", printable(text_of(error)))
            except Exception:  # noqa: BLE001 (of one kernel; the others are looked at again)
                self._log.exception("Idle kernels could not be looked for")

    async def check(self) -> None:
        """Shut down the kernels that are due now. Raises what the pool manager's client raises."""
        kernels = {
            kernel_id: manager
            for kernel_id, manager in self._kernels().items()
            if isinstance(manager.provisioner, FastGPUProvisioner) and manager.provisioner.lease_id is not None
        }
        self._released = {kernel_id: times for kernel_id, times in self._released.items() if kernel_id in kernels}
        if kernels.keys() - self._released.keys():
            for view in await in_thread(lambda: self._connect().leases()):
                kernel_id = view["holder"]["kernel_id"]
                if kernel_id in kernels:
                    await self._consider(kernel_id, kernels[kernel_id], view)
        now_ms = time.time_ns() // 1_000_000
        for kernel_id, (due_ms, ended_ms) in list(self._released.items()):
            if not _is_quiet(kernels[kernel_id], ended_ms):
                del self._released[kernel_id]
            elif now_ms >= due_ms:
                del self._released[kernel_id]
                await self._end(kernel_id, None)

    async def _consider(self, kernel_id: str, manager: Any, view: LeaseView) -> None:
        following = view["idle"]["next"]
        if following is None or following["step"] != SHUT_DOWN:
            return
        if view["state"] in OVER:
            self._released.setdefault(kernel_id, (following["at"], view["times"]["ended_at"] or following["at"]))
        elif view["idle"]["taken"] == SHUT_DOWN and manager.execution_state != "busy":
            await self._end(kernel_id, view["id"])

    async def _end(self, kernel_id: str, lease_id: str | None) -> None:
        if lease_id is not None:
            try:
                await in_thread(lambda: self._connect().end_idle(lease_id))
            except (Conflict, NotFound):
                return  # a cell began meanwhile
        self._log.info("FastGPU: the kernel %s is shut down, because the idle policy of the pool says so.", kernel_id)
        await self._shut_down(kernel_id)


def _is_quiet(manager: Any, since_ms: int) -> bool:
    """Return whether a kernel has done nothing since then, as far as its server knows."""
    last = getattr(manager, "last_activity", None)
    return manager.execution_state != "busy" and last is not None and last.timestamp() * 1000 <= since_ms
