"""What a kernel on a host of a cluster does while it has no Jupyter server: it keeps its output.

Neither the server nor the pool manager is on this host. That the server has ended is in the view of the lease, which
comes from the pool manager, as is the end of the lease, with the job, if no server adopts the kernel in time. The job's
agent, whose child this process is, ends with the job and ends the kernel.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import server_link

if TYPE_CHECKING:
    from .output_buffer import OutputBuffer


class RemoteWatch:
    """Watches the lease of ``kernel`` for the end of its server."""

    #: A lease on a cluster is not parked, so that there is no retention to give back.
    retention = None

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.is_orphaned = False
        self._output: OutputBuffer | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to watch, and answer the messages of a server that adopts the kernel."""
        server_link.answer_requests(self)
        self.kernel.gate.add_listener(self._look)
        self._look()

    @property
    def output(self) -> OutputBuffer:
        """Return what keeps the output; it keeps none while there is a server."""
        from .output_buffer import OutputBuffer

        with self._lock:
            if self._output is None:
                self._output = OutputBuffer(self.kernel)
            return self._output

    def accept(self, _content: Mapping[str, Any]) -> str | None:
        """Accept any server that has the kernel's key: the pool manager knows which one holds the lease."""
        return None

    def _look(self) -> None:
        view = self.kernel.gate.view
        if view is None or view["id"] != self.kernel.gate.lease_id:
            return
        orphaned = view["holder"].get("orphaned_at") is not None
        if orphaned and not self.is_orphaned:
            self.output.begin()
        elif self.is_orphaned and not orphaned:
            self.output.until_ms = time.time_ns() // 10**6
        self.is_orphaned = orphaned
