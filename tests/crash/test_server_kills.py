"""A Jupyter server is killed again and again: while cells run and wait, and while kernels start and restart.

After each kill the next server has the kernels under their ids and sessions, each kernel has one lease, and each lease
costs its rate for the time that it held the GPU.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.wire import kept_kernels
from tests.helpers import PoolProcess, ServerProcess
from tests.server.conftest import Running
from tests.server.kernel_socket import kernel_socket
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("FASTGPU_SERVER_KILLS", "10"))
SEED = int(os.environ.get("FASTGPU_SERVER_KILLS_SEED", "1"))
#: A kernel starts and restarts within about this time.
START_S = 0.6


class Kills:
    """The server that is killed, and the notebook whose kernel outlives it each time."""

    def __init__(self, running: Running, folder: Path, rng: random.Random) -> None:
        self.jupyter: ServerProcess = running.jupyter
        self.pool: PoolProcess = running.pool
        self._folder = folder
        self._rng = rng
        self._numbers = iter(range(10_000))
        self.session = self.jupyter.start_session(f"{next(self._numbers)}.ipynb")
        self.run("1 + 1")

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
        self.jupyter.start()

    def while_a_cell_runs(self) -> None:
        flag = self._folder / uuid.uuid4().hex
        with kernel_socket(self.jupyter, self.kernel_id, "browser") as socket:
            cell = socket.send(
                f"import pathlib, time\nprint('begins', flush=True)\nwhile not pathlib.Path({str(flag)!r}).exists():\n"
                "    time.sleep(0.02)\nprint('ends')"
            )
            socket.wait(cell, "stream")
            self.again()
        flag.touch()
        with kernel_socket(self.jupyter, self.kernel_id, "browser") as socket:
            assert socket.wait(cell, "execute_reply")["status"] == "ok"
            wait_until(lambda: "ends" in socket.text(cell), "the output is complete")

    def while_a_cell_waits(self) -> None:
        """The waiting notebook is the one that goes on: its cell runs when the other notebook is closed."""
        before, self.session = self.session, self.jupyter.start_session(f"{next(self._numbers)}.ipynb")
        with kernel_socket(self.jupyter, self.kernel_id, "browser") as socket:
            cell = socket.send("print('has run')")
            socket.wait(cell, "display_data", lambda content: "position 1" in content["data"]["text/plain"])
            self.again()
        assert self.jupyter.call("DELETE", f"api/sessions/{before['id']}")[0] == 204
        with kernel_socket(self.jupyter, self.kernel_id, "browser") as socket:
            assert socket.wait(cell, "execute_reply")["status"] == "ok"
            wait_until(lambda: "has run" in socket.text(cell), "the cell has run")

    def while_a_kernel_restarts(self) -> None:
        self._killed_during(lambda: self.jupyter.call("POST", f"api/kernels/{self.kernel_id}/restart"))
        wait_until(lambda: self.kernel_id in self._kernels(), "the kernel is there, by adoption or by a start")
        assert self.run("print('runs')").strip() == "runs"

    def while_a_kernel_starts(self) -> None:
        """It is adopted, or it has left nothing."""
        kernel_id = str(uuid.uuid4())
        body = {"name": "fastgpu", "path": "", "kernel_id": kernel_id}
        self._killed_during(lambda: self.jupyter.call("POST", "api/kernels", body))
        wait_until(lambda: self._is_settled(kernel_id), "the kernel is adopted, or its record is gone")
        if kernel_id in self._kernels():
            assert self.jupyter.call("DELETE", f"api/kernels/{kernel_id}")[0] == 204

    def _killed_during(self, call: Callable[[], object]) -> None:
        def ends_with_the_server() -> None:
            with contextlib.suppress(OSError):
                call()

        thread = threading.Thread(target=ends_with_the_server)
        thread.start()
        time.sleep(self._rng.uniform(0, START_S))
        self.again()
        thread.join()

    def _kernels(self) -> set[str]:
        return {kernel["id"] for kernel in self.jupyter.call("GET", "api/kernels")[1]}

    def _is_settled(self, kernel_id: str) -> bool:
        recorded = {found.record.kernel_id for found in kept_kernels.records()}
        return (kernel_id in self._kernels()) is (kernel_id in recorded)

    def check(self) -> None:
        """One kernel, its session, one lease whose holder it is, and the exact cost of every lease."""
        _, sessions = self.jupyter.call("GET", "api/sessions")
        assert [(one["id"], one["kernel"]["id"]) for one in sessions] == [(self.session["id"], self.kernel_id)]
        assert self._kernels() == {self.kernel_id}
        wait_until(lambda: len(self.pool.live()) == 1, "no other lease is left")
        (found,) = kept_kernels.records()
        (lease,) = self.pool.live()
        assert found.record.kernel is not None
        wait_until(
            lambda: self.pool.lease(lease["id"])["holder"]["pid"] == found.record.kernel.pid,  # type: ignore[union-attr]
            "the kernel is the holder of the lease",
        )
        assert lease["holder"]["kernel_id"] == self.kernel_id
        for view in self.pool.client.leases():
            # A lease that was never granted has no rate, and costs nothing.
            rate, active_ms = view["money"]["rate_micro_per_hour"] or 0, view["usage"]["active_ms"]
            assert abs(view["money"]["cost_micro"] - rate * active_ms // 3_600_000) <= 1, view


@pytest.mark.timeout(300 + ROUNDS * 30)
def test_killed_server_loses_no_kernel_and_bills_no_lease_twice(running: Running, tmp_path: Path) -> None:
    kills = Kills(running, tmp_path, random.Random(SEED))
    kinds = [
        kills.while_a_cell_runs,
        kills.while_a_kernel_restarts,
        kills.while_a_kernel_starts,
        kills.while_a_cell_waits,
        kills.while_a_kernel_starts,
    ]
    for number in range(ROUNDS):
        kinds[number % len(kinds)]()
        kills.check()


@pytest.fixture
def running(isolated: Path, installed: None) -> Iterator[Running]:
    """A pool with one simulated device, and a server."""
    found = Running(PoolProcess(isolated, "1xA100-80GB"), ServerProcess(isolated))
    try:
        found.pool.start()
        found.jupyter.start()
        yield found
    finally:
        found.jupyter.end()
        found.pool.end()
