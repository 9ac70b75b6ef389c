"""A pool manager that is stopped and answers nothing: what waits for it, for how long, and what is known afterwards."""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil
import pytest

from fastgpu_jupyter.wire.client.transport import TIMEOUT_S
from tests.helpers import ServerProcess, stopped
from tests.server.conftest import Running
from tests.server.conftest import running as running  # noqa: PLC0414 (a fixture)
from tests.server.conftest import started as started  # noqa: PLC0414 (a fixture)
from tests.server.test_server import Events
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
#: Requests of a browser at a time: more than the server makes to the pool manager.
REQUESTS = 24


class Request(threading.Thread):
    """A request in a thread of its own, with its answer and how long it took."""

    def __init__(self, server: ServerProcess, method: str, path: str, body: Any = None, key: str | None = None) -> None:
        super().__init__(daemon=True)
        self._call = server, method, path, body, key
        self.status, self.took_s = 0, 0.0
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        server, method, path, body, key = self._call
        began_s = time.monotonic()
        self.status, self.answer = server.call(method, path, body, headers={"Idempotency-Key": key} if key else {})
        self.took_s = time.monotonic() - began_s


def test_stopped_pool_delays_no_other_kernel_and_no_request_beyond_its_limit(running: Running) -> None:
    pool, jupyter = running
    session = jupyter.start_session("a.ipynb")
    (lease,) = pool.live()
    stream = Events(jupyter)
    stream.next("snapshot")
    path = f"fastgpu/api/leases/{lease['id']}"
    with stopped(pool.pid):
        before_ms = 1000 * time.time()
        server = psutil.Process(jupyter.pid)
        connections = server.num_fds()
        release = Request(jupyter, "DELETE", path, key="once")
        # One connection from the browser, and one to the pool manager: the release is under way, before the reads.
        wait_until(lambda: server.num_fds() >= connections + 2, "the server has sent it")
        reads = [Request(jupyter, "GET", "fastgpu/api/leases") for _ in range(REQUESTS)]
        # A kernel of another kind starts and runs a cell while all of them wait.
        other = jupyter.kernel(jupyter.start_session("b.ipynb", "python3"))
        assert other.run("1 + 1").status == "ok"
        assert any(read.is_alive() for read in reads)
        unreachable = stream.next("unreachable")
        assert unreachable["since"] <= before_ms + 1000 * TIMEOUT_S
        for request in (release, *reads):
            request.join()
        assert {read.status for read in reads} <= {429, 504}
        assert (release.status, release.answer["code"]) == (504, "outcome_unknown")
        assert "may have been done" in release.answer["message"]
        assert max(request.took_s for request in (release, *reads)) < 2 * TIMEOUT_S
    # Repeated with its key, the change says what became of it, and is not done twice.
    again = Request(jupyter, "DELETE", path, key="once")
    again.join()
    assert again.status == 200
    pool.wait_state(lease["id"], "ended")
    states = {view["id"]: view["state"] for view in stream.next("snapshot")["leases"]}
    assert states[lease["id"]] in ("draining", "ended")
    stream.close()
    assert session["kernel"]["id"] == lease["holder"]["kernel_id"]


def test_kernel_is_shut_down_within_the_limit_of_one_request_and_its_lease_is_released_later(running: Running) -> None:
    pool, jupyter = running
    session = jupyter.start_session("a.ipynb")
    stock = jupyter.start_session("b.ipynb", "python3")
    (lease,) = pool.live()
    with stopped(pool.pid):
        requests = [Request(jupyter, "DELETE", f"api/kernels/{one['kernel']['id']}") for one in (session, stock)]
        for request in requests:
            request.join()
        assert [request.status for request in requests] == [204, 204]
        # The stock kernel's time tells how busy the machine is.
        assert requests[0].took_s < TIMEOUT_S + 4 * requests[1].took_s
    pool.wait_state(lease["id"], "ended")


def test_restart_while_the_pool_is_stopped_is_refused_and_loses_nothing(running: Running) -> None:
    pool, jupyter = running
    session = jupyter.start_session("a.ipynb")
    (lease,) = pool.live()
    kernel = jupyter.kernel(session)
    assert kernel.run("kept = 42").status == "ok"
    path = f"api/kernels/{session['kernel']['id']}/restart"
    with stopped(pool.pid):
        restarts = [Request(jupyter, "POST", path) for _ in range(2)]
        for restart in restarts:
            restart.join()
        for restart in restarts:
            assert (restart.status, restart.took_s < TIMEOUT_S) == (504, True), restart.answer
            assert restart.answer["message"].startswith("The kernel was not restarted and keeps its variables")
        assert kernel.run("print(kept)").stream() == "42\n"
    # The server may have become the holder: the kernel is that again.
    wait_until(lambda: pool.lease(lease["id"])["holder"]["pid"] == lease["holder"]["pid"], "the kernel is the holder")
    assert pool.state(lease["id"]) == "active"
    again = Request(jupyter, "POST", path)
    again.join()
    assert again.status == 200
    assert [(now["id"], now["state"]) for now in pool.live()] == [(lease["id"], "active")]
    assert jupyter.kernel(session).run("print('kept' in globals())").stream() == "False\n"


def test_launch_that_a_stopped_pool_did_not_answer_leaves_no_lease(running: Running) -> None:
    pool, jupyter = running
    before = len(pool.client.leases())
    with stopped(pool.pid):
        body = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": "fastgpu"}}
        launch = Request(jupyter, "POST", "api/sessions", body)
        launch.join()
        assert launch.status == 500
        assert "may have been done" in launch.answer["message"]
        assert launch.took_s < 2 * TIMEOUT_S
    # The request was in the pool manager's socket: it is carried out, and the server releases what came of it.
    wait_until(lambda: len(pool.client.leases()) > before and not pool.live(), "the lease was made and is released")
    assert jupyter.start_session("a.ipynb")
    assert len(pool.live()) == 1
