"""A notebook whose Jupyter server is killed again and again, and what must hold after each kill."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastgpu_jupyter.wire import kept_kernels
from tests.crash.failing_server import ForkedServer
from tests.helpers import PoolProcess
from tests.server.kernel_socket import kernel_socket
from tests.waiting import wait_until


class Kills:
    """The server that is killed, a pool with one device, and the notebook whose kernel outlives the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool = PoolProcess(folder, "1xA100-80GB")
        self.jupyter = ForkedServer(folder)
        self.session: dict[str, Any] = {}
        #: How each server is started.
        self.arguments: list[str] = []
        self._number = 0

    def begin(self) -> None:
        """Start both, and the kernel of the notebook."""
        self.pool.start()
        self.jupyter.start(*self.arguments)
        self.session = self.jupyter.start_session(self.new_name())
        self.run("1 + 1")

    def end(self) -> None:
        """End all processes."""
        self.jupyter.end()
        self.pool.end()

    def new_name(self) -> str:
        """Return the name of a notebook that is not open."""
        self._number += 1
        return f"{self._number}.ipynb"

    @property
    def kernel_id(self) -> str:
        """The id of the notebook's kernel."""
        return str(self.session["kernel"]["id"])

    def run(self, code: str) -> str:
        """Run a cell of the notebook and return what it printed."""
        with kernel_socket(self.jupyter, self.kernel_id, "browser") as socket:
            return socket.run(code)

    def again(self) -> None:
        """Kill the server and start the next."""
        self.jupyter.kill()
        self.jupyter.start(*self.arguments)

    def killed_during(self, call: Callable[[], object], kill: Callable[[], None]) -> None:
        """Do ``call``, which ends with the server, in a thread, and ``kill`` the server meanwhile."""

        def ends_with_the_server() -> None:
            with contextlib.suppress(OSError):
                call()

        thread = threading.Thread(target=ends_with_the_server)
        thread.start()
        kill()
        thread.join()

    def kernels(self) -> set[str]:
        """Return the ids of the server's kernels."""
        return {kernel["id"] for kernel in self.jupyter.call("GET", "api/kernels")[1]}

    def check(self) -> None:
        """One kernel, its session, one lease whose holder it is, and the exact cost of every lease."""
        _, sessions = self.jupyter.call("GET", "api/sessions")
        assert [(one["id"], one["kernel"]["id"]) for one in sessions] == [(self.session["id"], self.kernel_id)]
        assert self.kernels() == {self.kernel_id}
        wait_until(lambda: len(self.pool.live()) == 1, "no other lease is left")
        (found,) = kept_kernels.records()
        (lease,) = self.pool.live()
        assert lease["holder"]["kernel_id"] == self.kernel_id
        kernel = found.record.kernel
        assert kernel is not None
        wait_until(
            lambda: self.pool.lease(lease["id"])["holder"]["pid"] == kernel.pid,
            "the kernel is the holder of the lease",
        )
        for view in self.pool.client.leases():
            # A lease that was never granted has no rate, and costs nothing.
            rate, active_ms = view["money"]["rate_micro_per_hour"] or 0, view["usage"]["active_ms"]
            assert abs(view["money"]["cost_micro"] - rate * active_ms // 3_600_000) <= 1, view
            times = view["times"]
            if times["ended_at"] is not None and times["granted_at"] is not None:
                assert active_ms <= times["ended_at"] - times["granted_at"] + CLOCKS_MS, view


#: The times of a lease are of the wall clock, what it is billed for is of another one.
CLOCKS_MS = 20
