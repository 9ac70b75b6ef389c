"""Make a process the holder of a lease, and repeat that until the pool manager has it."""

from __future__ import annotations

import threading

from ..errors import PoolUnreachable
from .kernel_lease import KernelLease
from .repeat import repeat_until_answered
from .threads import in_thread


class HolderBinding:
    """The binding of the lease to the kernel's process, or to this one while there is none."""

    def __init__(self, lease: KernelLease) -> None:
        self._lease = lease
        self._stop: threading.Event | None = None

    async def bind_kernel(self, pid: int) -> None:
        """Bind process ``pid``; where the pool manager does not answer, go on in a thread."""
        if not await in_thread(self._lease.bind, pid):
            self.keep_binding(pid)

    async def bind_server(self) -> None:
        """Stop binding the kernel's process, and bind this process."""
        self.stop()
        await in_thread(self._lease.bind, None)

    def keep_binding(self, pid: int) -> None:
        """Bind process ``pid`` in a thread, until that succeeds or :meth:`stop`."""
        self.stop()

        def bind() -> None:
            if not self._lease.bind(pid):
                raise PoolUnreachable

        self._stop = repeat_until_answered(bind)

    def stop(self) -> None:
        """End the thread that binds, if there is one."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None
