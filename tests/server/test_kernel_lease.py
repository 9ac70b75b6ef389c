"""A lease for a kernel that runs without one: requested by the server, and found by the kernel."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.server import token_files
from tests.conftest import isolate
from tests.server.conftest import PLAIN, Running, write_kernelspec
from tests.waiting import wait_until


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of tokens."""
    isolate(tmp_path, monkeypatch)
    return tmp_path


def gate(kernel_id: str, lease_id: str | None = None) -> Gate:
    """Return the gate of a kernel that a provisioner started."""

    def connect() -> None:
        raise AssertionError("the pool is not asked")

    return Gate(lease_id, "active", token_files.token_path(kernel_id), {}, connect)  # type: ignore[arg-type]


def known(one: Gate) -> tuple[str | None, bool]:
    """Return the lease of a gate, and whether cells run."""
    return one.lease_id, one.open


def test_gate_adopts_a_requested_lease_once_and_closes(folder: Path) -> None:
    token_files.write_lease_file("k", "l-1")
    one = gate("k")
    assert known(one) == (None, True)
    one.adopt_requested()
    assert known(one) == ("l-1", False)
    other = gate("k")
    other.adopt_requested()
    assert known(other) == (None, True)


def test_gate_that_adopts_a_lease_does_not_note_the_end_of_the_one_before(folder: Path) -> None:
    one = gate("k", "l-1")
    one.forget_lease()
    token_files.write_lease_file("k", "l-2")
    one.adopt_requested()
    assert one.apply_changes() == []


def test_gate_with_a_lease_keeps_it_and_forgets_an_older_request_with_its_release(folder: Path) -> None:
    token_files.write_lease_file("k", "l-2")
    one = gate("k", "l-1")
    one.adopt_requested()
    assert known(one) == ("l-1", True)
    one.set_released(None, cpu_only=True)
    one.adopt_requested()
    assert known(one) == (None, True)
    assert one.cpu_only


def test_files_of_an_ended_kernel_are_removed(folder: Path) -> None:
    token_files.write_token_file("k", "secret")
    token_files.write_lease_file("k", "l-1")
    token_files.remove_token_file("k")
    assert [*token_files.token_folder().iterdir()] == []


@pytest.mark.slow
def test_kernel_that_released_its_lease_gets_another_with_its_variables(running: Running) -> None:
    pool, jupyter = running
    session = jupyter.start_session("a.ipynb")
    kernel, url = jupyter.kernel(session), f"fastgpu/api/kernels/{session['kernel']['id']}/lease"
    assert kernel.run("kept = 42").status == "ok"
    (first,) = pool.live()
    # A kernel that has a lease keeps it.
    assert jupyter.call("POST", url, {"size": "half"})[1]["id"] == first["id"]
    kernel.run("%fastgpu release")
    wait_until(lambda: not pool.live(), "the lease has ended")  # it drains first

    status, lease = jupyter.call("POST", url, {"size": "half"})
    assert (status, lease["state"], lease["request"]["size"]) == (200, "active", "half")
    assert str(lease["holder"]["notebook"]).endswith("a.ipynb")
    assert jupyter.call("POST", url, {"size": "half"})[1]["id"] == lease["id"]
    pid = int(kernel.value("__import__('os').getpid()"))
    wait_until(lambda: pool.lease(lease["id"])["holder"]["pid"] == pid, "the kernel holds the lease")
    assert kernel.value("kept") == "42"
    # The kernel reports what it does, so that the lease can be parked while it is idle.
    wait_until(lambda: pool.lease(lease["id"])["usage"]["busy"] is False, "the kernel reports")
    jupyter.close_sessions()
    pool.wait_state(lease["id"], "ended")


@pytest.mark.slow
def test_idle_kernel_finds_its_lease_and_a_cell_waits_for_it(running: Running) -> None:
    pool, jupyter = running
    session = jupyter.start_session("a.ipynb")
    kernel = jupyter.kernel(session)
    kernel.run("%fastgpu cpu")
    other = jupyter.start_session("b.ipynb")
    status, lease = jupyter.call("POST", f"fastgpu/api/kernels/{session['kernel']['id']}/lease", {})
    assert (status, lease["state"]) == (200, "waiting")
    wait_until(lambda: pool.lease(lease["id"])["usage"]["busy"] is False, "the idle kernel reports")
    cell = kernel.send("6 * 7")
    wait_until(lambda: pool.lease(lease["id"])["usage"]["busy"], "the cell waits")
    jupyter.call("DELETE", f"api/sessions/{other['id']}")
    assert kernel.collect(cell).status == "ok"
    assert pool.state(lease["id"]) == "active"


@pytest.mark.slow
def test_kernels_that_cannot_use_a_later_lease_are_refused_with_a_sentence(running: Running) -> None:
    pool, jupyter = running
    write_kernelspec(jupyter.folder, "plain", argv=PLAIN, fastgpu={"gate": False})
    session = jupyter.start_session("a.ipynb", "plain")
    url = "fastgpu/api/kernels/{}/lease"
    status, answer = jupyter.call("POST", url.format(session["kernel"]["id"]), {})
    assert (status, "restart the kernel" in answer["message"]) == (409, True)
    status, answer = jupyter.call("POST", url.format(uuid.uuid4()), {})
    assert (status, answer["message"]) == (404, "This kernel does not run. Nothing was requested.")
    status, made = jupyter.call("POST", "api/kernels", {"name": "python3"})
    assert status == 201
    status, answer = jupyter.call("POST", url.format(made["id"]), {"size": "half"})
    assert (status, "not a FastGPU kernel" in answer["message"]) == (409, True)
    jupyter.call("DELETE", f"api/kernels/{made['id']}")
    status, answer = jupyter.call("POST", url.format(session["kernel"]["id"]), {"size": 1})
    assert status == 400
    assert [view["holder"]["kernel_id"] for view in pool.live()] == [session["kernel"]["id"]]
