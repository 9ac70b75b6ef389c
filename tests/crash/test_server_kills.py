"""A Jupyter server is killed at random instants: while cells run and wait, and while kernels start and restart.

After each kill the next server has the kernels under their ids and sessions, each kernel has one lease, and each lease
costs its rate for the time that it held the GPU. :mod:`.test_server_failpoints` has the kills at known steps.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.wire import kept_kernels
from tests.crash.server_kills import Kills
from tests.server.kernel_socket import kernel_socket
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("FASTGPU_SERVER_KILLS", "10"))
SEED = int(os.environ.get("FASTGPU_SERVER_KILLS_SEED", "1"))
#: A kernel starts and restarts within about this time.
START_S = 0.6


class RandomKills(Kills):
    """Kills at instants that are drawn."""

    rng = random.Random(SEED)

    def while_a_cell_runs(self) -> None:
        flag = self.folder / uuid.uuid4().hex
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
        before, self.session = self.session, self.jupyter.start_session(self.new_name())
        with kernel_socket(self.jupyter, self.kernel_id, "browser") as socket:
            cell = socket.send("print('has run')")
            socket.wait(cell, "display_data", lambda content: "position 1" in content["data"]["text/plain"])
            self.again()
        assert self.jupyter.call("DELETE", f"api/sessions/{before['id']}")[0] == 204
        with kernel_socket(self.jupyter, self.kernel_id, "browser") as socket:
            assert socket.wait(cell, "execute_reply")["status"] == "ok"
            wait_until(lambda: "has run" in socket.text(cell), "the cell has run")

    def while_a_kernel_restarts(self) -> None:
        self._killed_soon_after(f"api/kernels/{self.kernel_id}/restart")
        wait_until(lambda: self.kernel_id in self.kernels(), "the kernel is there, by adoption or by a start")
        assert self.run("print('runs')").strip() == "runs"

    def while_a_kernel_starts(self) -> None:
        """It is adopted, or it has left nothing."""
        kernel_id = str(uuid.uuid4())
        self._killed_soon_after("api/kernels", {"name": "fastgpu", "path": "", "kernel_id": kernel_id})
        wait_until(lambda: self._is_settled(kernel_id), "the kernel is adopted, or its record is gone")
        if kernel_id in self.kernels():
            assert self.jupyter.call("DELETE", f"api/kernels/{kernel_id}")[0] == 204

    def _killed_soon_after(self, path: str, body: object = None) -> None:
        def kill() -> None:
            time.sleep(self.rng.uniform(0, START_S))
            self.again()

        self.killed_during(lambda: self.jupyter.call("POST", path, body), kill)

    def _is_settled(self, kernel_id: str) -> bool:
        recorded = {found.record.kernel_id for found in kept_kernels.records()}
        return (kernel_id in self.kernels()) is (kernel_id in recorded)


@pytest.mark.timeout(300 + ROUNDS * 30)
def test_killed_server_loses_no_kernel_and_bills_no_lease_twice(kills: RandomKills) -> None:
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
def kills(isolated: Path, installed: None) -> Iterator[RandomKills]:
    """A notebook with a kernel that runs."""
    found = RandomKills(isolated)
    try:
        found.begin()
        yield found
    finally:
        found.end()
