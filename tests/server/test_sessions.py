"""Notebooks of a Jupyter server: a real server, a real pool, real kernels."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.server.conftest import PLAIN, Running, write_kernelspec
from tests.views import position_of, value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_three_sessions_on_one_gpu_are_granted_in_turn(running: Running) -> None:
    pool, jupyter = running
    sessions = [jupyter.start_session(f"{name}.ipynb") for name in "abc"]
    _, answer = jupyter.call("GET", "fastgpu/api/leases")
    by_notebook = {view["holder"]["notebook"]: view for view in answer["leases"]}
    # The server says where a notebook is as a path of the system.
    leases = [next(v for k, v in by_notebook.items() if k.endswith(f"{name}.ipynb")) for name in "abc"]
    assert [view["state"] for view in leases] == ["active", "waiting", "waiting"]
    assert [position_of(view) for view in leases] == [None, 1, 2]
    assert [view["holder"]["kernel_id"] for view in leases] == [session["kernel"]["id"] for session in sessions]
    second = jupyter.kernel(sessions[1])
    cell = second.send("import os; print(os.environ['FASTGPU_SIMULATED'])")
    second.message(cell, "display_data")
    assert jupyter.call("DELETE", f"api/sessions/{sessions[0]['id']}")[0] == 204
    assert second.collect(cell).stream() == "1\n"
    pool.wait_state(leases[1]["id"], "active")
    assert pool.state(leases[2]["id"]) == "waiting"
    # Released from the browser, the kernel goes on and the next one gets the GPU.
    status, released = jupyter.call("DELETE", f"fastgpu/api/leases/{leases[1]['id']}")
    assert status == 200
    assert released["state"] in ("draining", "ended")
    pool.wait_state(leases[2]["id"], "active")
    assert second.run("print(2)").stream() == "2\n"


def test_rest_interface_parks_resumes_and_pins_a_lease(running: Running) -> None:
    pool, jupyter = running
    jupyter.start_session("a.ipynb")
    (lease,) = pool.live()
    path = f"fastgpu/api/leases/{lease['id']}"
    pool.wait_state(lease["id"], "active")
    status, view = jupyter.call("POST", f"{path}/pin", {"pinned": True})
    assert (status, view["parking"]["retention"]) == (200, "hold")
    status, view = jupyter.call("POST", f"{path}/pin", {"pinned": False})
    assert (status, view["parking"]["retention"]) == (200, "yield")
    status, view = jupyter.call("POST", f"{path}/park")
    assert status == 200
    assert value_of(view["parking"]["reason"]) == "requested"
    pool.wait_state(lease["id"], "parked")
    assert jupyter.call("POST", f"{path}/resume", {})[0] == 200
    pool.wait_state(lease["id"], "active")
    assert jupyter.call("DELETE", path)[0] == 200
    status, refusal = jupyter.call("POST", f"{path}/park")
    assert (status, refusal["code"]) == (409, "conflict")
    status, answer = jupyter.call("GET", "fastgpu/api/quota")
    assert status == 200
    assert [one["tenant"]["key"] for one in answer["tenants"]] == [lease["tenant"]["key"]]
    assert answer["groups"] == []


def test_restart_of_a_parked_kernel_resumes_its_lease(running: Running) -> None:
    pool, jupyter = running
    session = jupyter.start_session("a.ipynb")
    (lease,) = pool.live()
    pool.wait_state(lease["id"], "active")
    pool.client.park(lease["id"])
    pool.wait_state(lease["id"], "parked")
    assert jupyter.call("POST", f"api/kernels/{session['kernel']['id']}/restart")[0] == 200
    assert pool.state(lease["id"]) == "parked"
    kernel = jupyter.kernel(session)
    assert kernel.run("import os; print(os.environ['FASTGPU_SIMULATED'])").stream() == "1\n"
    pool.wait_state(lease["id"], "active")


def test_restart_by_the_server_keeps_the_lease(running: Running) -> None:
    pool, jupyter = running
    session = jupyter.start_session("a.ipynb")
    (before,) = pool.live()
    status, _ = jupyter.call("POST", f"api/kernels/{session['kernel']['id']}/restart")
    assert status == 200
    (after,) = pool.live()
    assert after["id"] == before["id"]
    assert after["holder"]["pid"] != before["holder"]["pid"]


def test_kernel_without_a_gate_fails_after_the_grant_timeout(running: Running) -> None:
    pool, jupyter = running
    write_kernelspec(jupyter.folder, "nogate", argv=PLAIN, fastgpu={"gate": False}, config={"grant_timeout_s": 1.0})
    session = jupyter.start_session("a.ipynb", "nogate")
    kernel = jupyter.kernel(session)
    assert kernel.run("import os; print(os.environ['FASTGPU_SIMULATED'])").stream() == "1\n"
    body = {"path": "b.ipynb", "name": "b", "type": "notebook", "kernel": {"name": "nogate"}}
    status, answer = jupyter.call("POST", "api/sessions", body)
    assert status == 500
    assert answer["message"].startswith("No GPU was free within 1 s: position 1 in the queue")
    status, answer = jupyter.call("POST", "api/kernels", {"name": "nogate"})
    assert status == 429
    assert answer["message"].startswith("No GPU was free within 1 s: position 1 in the queue")
    assert len(pool.live()) == 1


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({"fastgpu": {"gate": True, "profile": "7xa100"}}, 422, "7xa100"),
        ({"fastgpu": {"gate": True, "profle": "half"}}, 400, "no option 'profle'"),
        ({"argv": ["/nonexistent/python", "-m", "fastgpu_jupyter.kernel"]}, 500, "/nonexistent/python"),
    ],
)
def test_kernel_that_cannot_start_says_why(running: Running, changes: dict[str, Any], status: int, why: str) -> None:
    pool, jupyter = running
    write_kernelspec(jupyter.folder, f"refused-{status}", **changes)
    found, answer = jupyter.call("POST", "api/kernels", {"name": f"refused-{status}"})
    assert found == status
    assert why in answer["message"]
    body = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": f"refused-{status}"}}
    found, answer = jupyter.call("POST", "api/sessions", body)
    assert found == 500  # of jupyter_server, whatever was raised
    assert why in answer["message"]
    wait_until(lambda: not pool.live(), "the lease of the failed launch has ended")


def notebook(running: Running, lease_id: str) -> str:
    """The name of a lease, without the folder."""
    return str(running.pool.lease(lease_id)["holder"]["notebook"]).rpartition("/")[2]


def test_rename_of_a_notebook_reaches_the_lease_the_bill_and_the_next_restart(running: Running) -> None:
    pool, jupyter = running
    session = jupyter.start_session("Untitled.ipynb")
    (lease,) = pool.live()
    new = {"path": "sub/training run.ipynb", "name": "training run.ipynb"}
    assert jupyter.call("PATCH", f"api/sessions/{session['id']}", new)[0] == 200
    wait_until(lambda: notebook(running, lease["id"]) == "training run.ipynb", "the lease has the new name")
    (line,) = [
        line
        for statement in pool.client.statements(time.strftime("%Y-%m", time.gmtime()))
        for line in statement["lines"]
        if line["lease_id"] == lease["id"]
    ]
    assert str(line["notebook"]).endswith("training run.ipynb")
    assert jupyter.call("POST", f"api/kernels/{session['kernel']['id']}/restart")[0] == 200
    (restarted,) = pool.live()
    assert (restarted["id"], notebook(running, restarted["id"])) == (lease["id"], "training run.ipynb")
    # What is requested later has the new name as well.
    assert jupyter.call("DELETE", f"fastgpu/api/leases/{lease['id']}")[0] == 200
    pool.wait_state(lease["id"], "ended")
    assert jupyter.call("POST", f"api/kernels/{session['kernel']['id']}/restart")[0] == 200
    (later,) = pool.live()
    assert later["id"] != lease["id"]
    assert notebook(running, later["id"]) == "training run.ipynb"


def test_console_of_the_same_kernel_does_not_rename_the_lease(running: Running) -> None:
    pool, jupyter = running
    session = jupyter.start_session("a.ipynb")
    (lease,) = pool.live()
    body = {"path": "console-1", "name": "Console 1", "type": "console", "kernel": {"id": session["kernel"]["id"]}}
    status, console = jupyter.call("POST", "api/sessions", body)
    assert status == 201
    assert jupyter.call("PATCH", f"api/sessions/{console['id']}", {"path": "console-2", "name": "Console 2"})[0] == 200
    assert jupyter.call("PATCH", f"api/sessions/{session['id']}", {"path": "b.ipynb", "name": "b.ipynb"})[0] == 200
    wait_until(lambda: notebook(running, lease["id"]) == "b.ipynb", "the lease has the notebook's name")


def test_kernel_that_was_started_without_a_session_gets_its_name_with_one(running: Running) -> None:
    pool, jupyter = running
    status, kernel = jupyter.call("POST", "api/kernels", {"name": "fastgpu"})
    assert status == 201
    (lease,) = pool.live()
    assert lease["holder"]["notebook"] is None
    body = {"path": "late.ipynb", "name": "late.ipynb", "type": "notebook", "kernel": {"id": kernel["id"]}}
    assert jupyter.call("POST", "api/sessions", body)[0] == 201
    wait_until(lambda: notebook(running, lease["id"]) == "late.ipynb", "the lease has the notebook's name")


def test_notebook_with_a_very_long_path_starts(running: Running) -> None:
    pool, jupyter = running
    jupyter.start_session("/".join(["d" * 200] * 15) + "/run.ipynb")
    (lease,) = pool.live()
    assert notebook(running, lease["id"]) == "run.ipynb"
