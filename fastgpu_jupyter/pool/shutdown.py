"""The end of a pool manager: who lets it end, and what is kept for the one that is started after it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from .host import single_instance
from .http.service import PoolService

IDLE_CHECK_S = 1.0
log = logging.getLogger("fastgpu.pool")


class Shutdown:
    """Whether the pool manager ends, and whether its settings are kept for one that is started on demand then."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.keeps_settings = False

    def begin(self, *, keeps_settings: bool = False) -> None:
        """Let the pool manager end. The settings are kept where no user has stopped it: its terminal is gone, say."""
        self.keeps_settings = keeps_settings
        self.begun.set()


class ShutdownMonitor:
    """The monitor that ends the pool manager if it is idle for long, or if its socket is gone.

    ``for_leases``: it has settings of another pool manager, and ends when all leases have ended.
    """

    def __init__(
        self,
        service: PoolService,
        socket_path: Path,
        socket_inode: int | None,
        timeout_s: float,
        shutdown: Shutdown,
        *,
        for_leases: bool,
    ) -> None:
        self._service = service
        self._socket_path, self._socket_inode = socket_path, socket_inode
        self._timeout_s = timeout_s
        self._shutdown = shutdown
        self._for_leases = for_leases
        self._idle_since_s: float | None = None

    async def check(self) -> None:
        """Pause, then let the pool manager end if its socket was removed or replaced, or it was idle for long."""
        await asyncio.sleep(IDLE_CHECK_S)
        now_s = asyncio.get_running_loop().time()
        if single_instance.inode(self._socket_path) != self._socket_inode:
            log.warning("The socket %s was removed or replaced.", self._socket_path)
            self._shutdown.begin(keeps_settings=True)
        if self._for_leases and await self._service.have_leases_ended():
            self._shutdown.begin()
        elif not await self._service.is_idle():
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        elif 0 < self._timeout_s <= now_s - self._idle_since_s:
            self._shutdown.begin()
