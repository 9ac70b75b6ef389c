"""Kernels that outlive their Jupyter server: killed, started again, and everything goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from fastgpu_jupyter.wire import kept_kernels
from fastgpu_jupyter.wire.kept_kernels import Found
from tests.helpers import ServerProcess, alive
from tests.server.conftest import Running
from tests.server.kernel_socket import KernelSocket, kernel_socket
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


#: Runs on without the server whose process is given, for long enough to notice that, and then prints.
OUTLIVES = """
import pathlib, time
print("begins", flush=True)
while pathlib.Path("/proc/{server}/stat").exists():
    time.sleep(0.02)
time.sleep(0.5)
print("ends")
x + 1
"""


def test_kernels_outlive_servers_that_are_killed_and_stopped(running: Running) -> None:
    """One journey, because each start of a server takes seconds."""
    jupyter, pool = running.jupyter, running.pool
    session = jupyter.start_session("a.ipynb")
    kernel_id = session["kernel"]["id"]
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        pid = int(socket.run("import os, time; x = 41; print(os.getpid())"))
        (lease,) = pool.live()
        cell = socket.send(OUTLIVES.format(server=jupyter.pid))
        socket.wait(cell, "stream")
        jupyter.kill()
    jupyter.start("--FastGPUExtension.keep_kernels=always")
    assert _sessions(jupyter) == [(session["id"], "a.ipynb", kernel_id)]
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        _expect_complete(socket, cell)
        assert socket.run("x += 1; print(os.getpid(), x)").split() == [str(pid), "42"]
        (view,) = pool.live()
        assert (view["id"], view["holder"]["pid"]) == (lease["id"], pid)
        _restart(jupyter, kernel_id, socket, pid)
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        pid = int(socket.run("import os; print(os.getpid())"))
        assert parent_of(pid) == jupyter.pid
        assert [view["id"] for view in pool.live()] == [lease["id"]]
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: _other_process(kernel_id, pid), "the kernel that died is started again")

    # A server that is stopped leaves its kernels only where it is configured to, and those of others never.
    other = jupyter.start_session("b.ipynb")["kernel"]["id"]
    restarting = jupyter.start_session("d.ipynb")
    restarted = restarting["kernel"]["id"]
    stock = jupyter.start_session("c.ipynb", "python3")
    stock_pid = int(jupyter.kernel(stock).value("__import__('os').getpid()"))
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        pid = int(socket.run("import os, time; x = 41; print(os.getpid())"))
        lease = next(view for view in pool.live() if view["holder"]["kernel_id"] == kernel_id)
        cell = socket.send(OUTLIVES.format(server=jupyter.pid))
        socket.wait(cell, "stream")
        jupyter.terminate()
    assert not alive(stock_pid)
    records = {found.record.kernel_id: found for found in kept_kernels.records()}
    assert records.keys() == {kernel_id, other, restarted}
    assert all(found.record.detached for found in records.values())
    _end(records[other])
    # As if the server had been killed while it restarted this one.
    _end(records[restarted])
    kept_kernels.replaced(records[restarted], restarting=True)
    log_bytes = len(jupyter.log)
    jupyter.start()
    assert sorted(_sessions(jupyter)) == sorted(
        [(session["id"], "a.ipynb", kernel_id), (restarting["id"], "d.ipynb", restarted)]
    )
    jupyter.kernel(restarting)  # it answers
    lines = [line for line in jupyter.log[log_bytes:].splitlines() if other in line]
    assert len(lines) == 1
    assert "has ended without its server" in lines[0]
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        _expect_complete(socket, cell)
    kernels = {view["holder"]["kernel_id"]: view["id"] for view in pool.live()}
    assert set(kernels) == {kernel_id, restarted}
    assert kernels[kernel_id] == lease["id"]
    for one in (session, restarting):
        assert jupyter.call("DELETE", f"api/sessions/{one['id']}")[0] == 204
    wait_until(lambda: not pool.live(), "the lease ends")
    assert not alive(pid)
    assert list(kept_kernels.records()) == []


def _sessions(jupyter: ServerProcess) -> list[tuple[str, str, str]]:
    _, sessions = jupyter.call("GET", "api/sessions")
    return [(one["id"], one["path"], one["kernel"]["id"]) for one in sessions]


def _expect_complete(socket: KernelSocket, cell: str) -> None:
    """Expect all that a cell of :data:`OUTLIVES` does after its server has ended."""
    assert socket.wait(cell, "execute_reply")["status"] == "ok"
    socket.wait(cell, "status", lambda content: content["execution_state"] == "idle")
    assert "ends" in socket.text(cell)
    assert socket.wait(cell, "execute_result")["data"]["text/plain"] == "42"


def _restart(jupyter: ServerProcess, kernel_id: str, socket: KernelSocket, pid: int) -> None:
    """Interrupt a cell of the adopted kernel, and restart it."""
    cell = socket.send("print('begins', flush=True)\ntime.sleep(60)")
    socket.wait(cell, "stream")
    assert jupyter.call("POST", f"api/kernels/{kernel_id}/interrupt")[0] == 204
    assert socket.wait(cell, "execute_reply")["ename"] == "KeyboardInterrupt"
    assert jupyter.call("POST", f"api/kernels/{kernel_id}/restart")[0] == 200
    assert not alive(pid)


def _end(found: Found) -> None:
    process = found.kernel()
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_until(process.has_ended, "the kernel ends")


def _other_process(kernel_id: str, pid: int) -> bool:
    # The record is absent for a moment when a launch replaces it.
    records = [found.record for found in kept_kernels.records() if found.record.kernel_id == kernel_id]
    return any(record.kernel is not None and record.kernel.pid != pid for record in records)
