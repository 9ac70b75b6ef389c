"""Kernels that outlive their Jupyter server: killed, started again, and everything goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from fastgpu_jupyter.wire import kept_kernels
from tests.helpers import alive
from tests.server.conftest import Running
from tests.server.kernel_socket import kernel_socket
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


def test_killed_server_leaves_its_kernel_to_the_next_one(running: Running) -> None:
    jupyter, pool = running.jupyter, running.pool
    session = jupyter.start_session("a.ipynb")
    kernel_id = session["kernel"]["id"]
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        pid = int(socket.run("import os; x = 41; print(os.getpid())"))
        (lease,) = pool.live()
        cell = socket.send(OUTLIVES.format(server=jupyter.pid))
        socket.wait(cell, "stream")
        jupyter.kill()
    jupyter.start()
    _, sessions = jupyter.call("GET", "api/sessions")
    now = [(one["id"], one["path"], one["kernel"]["id"]) for one in sessions]
    assert now == [(session["id"], "a.ipynb", kernel_id)]
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        reply = socket.wait(cell, "execute_reply")
        socket.wait(cell, "status", lambda content: content["execution_state"] == "idle")
        assert reply["status"] == "ok"
        assert "ends" in socket.text(cell)
        assert socket.wait(cell, "execute_result")["data"]["text/plain"] == "42"
        assert socket.run("x += 1; print(os.getpid(), x)").split() == [str(pid), "42"]
        (view,) = pool.live()
        assert (view["id"], view["holder"]["pid"]) == (lease["id"], pid)

        # It is interrupted and restarted by this server, whose child it is then.
        cell = socket.send("print('begins', flush=True)\ntime.sleep(60)")
        socket.wait(cell, "stream")
        assert jupyter.call("POST", f"api/kernels/{kernel_id}/interrupt")[0] == 204
        assert socket.wait(cell, "execute_reply")["ename"] == "KeyboardInterrupt"
    assert jupyter.call("POST", f"api/kernels/{kernel_id}/restart")[0] == 200
    assert not alive(pid)
    with kernel_socket(jupyter, kernel_id, "browser") as socket:
        new = int(socket.run("import os; print(os.getpid(), end='')"))
        assert parent_of(new) == jupyter.pid
        (view,) = pool.live()
        assert view["id"] == lease["id"]
        # Its death is noticed, and it is started again.
        os.kill(new, signal.SIGKILL)
    wait_until(lambda: _other_process(new), "the kernel that died is started again")
    assert jupyter.call("DELETE", f"api/sessions/{session['id']}")[0] == 204
    wait_until(lambda: not pool.live(), "the lease ends")
    assert list(kept_kernels.records()) == []


def _other_process(pid: int) -> bool:
    (found,) = kept_kernels.records()
    return found.record.kernel is not None and found.record.kernel.pid != pid
