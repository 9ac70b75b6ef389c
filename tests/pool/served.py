"""A pool that serves from a thread of the test: quick to start, and a test can reach into it and break its disk."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fastgpu_jupyter.pool.composition import DEFAULT_OPTIONS, PoolServices, ServiceOptions
from fastgpu_jupyter.pool.devices.driver import Driver
from fastgpu_jupyter.pool.devices.selection import NoDevices
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from fastgpu_jupyter.pool.host import single_instance
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.http.limits import ServiceLimits
from fastgpu_jupyter.pool.http.routes import serve
from fastgpu_jupyter.pool.http.service import PoolService
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop.recovery import recover
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from fastgpu_jupyter.pool.clusters.set_up import ClusterSetUp

T = TypeVar("T")


class ServedPool:
    """Simulated devices, served at a socket in ``folder`` until :meth:`stop`."""

    def __init__(
        self,
        folder: Path,
        simulate: str = "1xA100-80GB",
        limits: ServiceLimits | None = None,
        options: ServiceOptions = DEFAULT_OPTIONS,
        cluster: ClusterSetUp | None = None,
    ) -> None:
        self.path = folder / "pool.sock"
        self.options, self.cluster = options, cluster
        self.folder, self.simulate, self.limits = folder, simulate, limits or ServiceLimits()
        self.client = PoolClient(self.path, timeout_s=DEADLINE_S)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)
        self._ready: Future[None] = Future()
        self._thread.start()
        self._ready.result(DEADLINE_S)

    async def _live(self) -> None:
        try:
            await self._start()
        except BaseException as error:
            self._ready.set_exception(error)
            raise
        self._ready.set_result(None)
        await self._stopped.wait()
        self.server.stop()
        await self.server.close_all_connections()
        await self.services.stop()

    async def _start(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        clock = SystemClock()
        self.journal = Journal(self.folder / "journal.db")
        self.driver: Driver = SimulatedDriver(self.simulate, {}) if self.cluster is None else NoDevices("")
        self.release_log = PreallocatedReleaseLog(self.folder / "releases.preallocated")
        pool, message = recover(self.journal, DriverAtStartup(self.driver), clock, self.release_log)
        self.services = PoolServices(
            pool,
            self.journal,
            self.driver,
            clock,
            self.release_log,
            options=self.options,
            admit=self.limits.admit,
            driver_message=message,
            cluster=self.cluster,
        )
        self.service = PoolService(
            self.services.http_backend(),
            scope="user",
            currency="USD",
            started_at=clock.wall_ms(),
            boot_id=clock.boot_id(),
            limits=self.limits,
        )
        self.server = serve(self.service)
        if self.services.cluster is not None:
            self.services.cluster.relay_to(self.server.connect_relayed)
        await self.services.start()
        self.server.add_socket(single_instance.listen(self.path, 0o600))
        self.services.supervisor.run_forever("connections", self.server.sweep)

    def stop(self) -> None:
        """End it as a signal would."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    def run(self, job: Coroutine[Any, Any, T]) -> T:
        """Run ``job`` in the pool's loop."""
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(DEADLINE_S)

    def call(self, function: Callable[[], T]) -> T:
        """Call ``function`` in the pool's loop."""

        async def job() -> T:
            return function()

        return self.run(job())

    def connect(self) -> socket.socket:
        """A connection without a client."""
        return unixsocket.connect(self.path, DEADLINE_S)

    def raw(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request without the client's manners."""
        headers.setdefault("User_Agent", "a program of others")
        connection = http.client.HTTPConnection("localhost", timeout=DEADLINE_S)
        connection.sock = self.connect()
        with closing(connection):
            connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def messages(sock: socket.socket) -> Iterator[dict[str, Any]]:
    """The messages of an event stream that was asked for on ``sock``."""
    response = http.client.HTTPResponse(sock)
    response.begin()
    while line := response.readline():
        yield json.loads(line)
