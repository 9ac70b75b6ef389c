"""The widget in a kernel without a browser: its requests, its traits, and the table that stays in the notebook."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.widget import translations
from fastgpu_jupyter.kernel.widget.facts import LeaseFacts, facts_of
from fastgpu_jupyter.kernel.widget.progress import step_of
from fastgpu_jupyter.kernel.widget.snapshot import Snapshot
from fastgpu_jupyter.wire.client import new_token
from tests.helpers import Kernel, KernelHelper, PoolProcess
from tests.kernel.fakes import FakePool, active_view, changed, lease_view
from tests.waiting import DEADLINE_S, wait_until

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    (tmp_path / "token").write_text("secret")
    return Gate("lease-1", "active", tmp_path / "token", {}, FakePool(active_view()).connect)


def update(gate: Gate, view: dict[str, Any]) -> None:
    gate.update_lease(view)  # type: ignore[arg-type]


def test_facts_of_follow_the_lease_and_are_unknown_without_an_answer(gate: Gate) -> None:
    assert facts_of(gate, 0) == LeaseFacts()
    update(gate, changed(active_view(), cost_at=1000))
    known = facts_of(gate, 1000 + 3_600_000)
    assert (known.state, known.size, known.utilization) == ("active", "full", 50)
    assert (known.memory_bytes, known.memory_limit_bytes) == (20 * 2**30, 80 * 2**30)
    assert (known.cost, known.cost_per_hour, known.currency) == (2.545, 2.5, "USD")
    gate.report_pool_error("It does not answer.")
    unknown = facts_of(gate, 1000 + 3_600_000)
    assert (unknown.state, unknown.utilization, unknown.memory_bytes) == ("active", None, None)
    assert (unknown.cost, unknown.problem) == (0.045, "It does not answer.")


def test_readings_reach_only_the_listeners_that_want_them(gate: Gate) -> None:
    update(gate, active_view())
    heard = []
    gate.add_listener(lambda: heard.append("change"))
    remove = gate.add_listener(lambda: heard.append("reading"), readings=True)
    gate.handle_message({"type": "usage", "leases": [{"id": "lease-1", "usage": {"utilization_percent": 7}}]})
    assert heard == ["reading"]
    remove()
    gate.handle_message({"type": "usage", "leases": [{"id": "lease-1", "usage": {"utilization_percent": 8}}]})
    update(gate, active_view(version=3))
    assert heard == ["reading", "change"]


def test_snapshot_has_a_time_and_is_shown_again_only_after_a_change(gate: Gate) -> None:
    snapshot = Snapshot(gate, gated=True)
    update(gate, active_view())
    content = snapshot.content(now=0)
    assert content is not None
    for text in content["data"].values():
        assert "GPU lease at 1970-01-01" in text
        assert "20 GiB of 80 GiB" in text
    assert snapshot.content(now=60) is None
    gate.report_pool_error("It does <b>not</b> answer.")
    again = snapshot.content()
    assert again is not None
    assert "&lt;b&gt;not" in again["data"]["text/html"]
    assert again["transient"] == content["transient"]


def test_snapshot_without_a_lease_says_so(tmp_path: Path) -> None:
    content = Snapshot(Gate(None, "", None, {}, FakePool().connect), gated=True).content()
    assert content is not None
    assert "This kernel has no GPU lease" in content["data"]["text/plain"]


@pytest.mark.parametrize(
    ("view", "text"),
    [
        (active_view(), "The GPU is active: full, A100-80GB."),
        (active_view(state="parking"), "Parking: the GPU memory"),
        (active_view(state="parked", park_reason="requested"), "Variables and GPU memory are kept"),
        (active_view(state="resuming", park_reason="requested", parked_bytes=2**30), "Resuming: 1 GiB of GPU memory"),
        (lease_view(position=2), "Waiting for a GPU: position 2 in the queue."),
        (active_view(state="ended", end_reason="released"), "The lease has ended."),
    ],
)
def test_step_of_says_what_the_lease_does(gate: Gate, view: dict[str, Any], text: str) -> None:
    update(gate, {**view, "version": 5})
    assert text in step_of(gate).text
    assert step_of(gate).state == view["state"]


def test_translations_are_those_of_the_texts_in_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translations, "LOCALES", tmp_path)
    catalogue = tmp_path / "zh_CN/LC_MESSAGES/fastgpu_jupyter.json"
    catalogue.parent.mkdir(parents=True)
    forms = {"": {}, "Refresh": ["刷新"], "verb\x04Park": ["挂起"], "Queue": ["队列"], "It's on": ["已开启"]}
    catalogue.write_text(json.dumps(forms))
    module = 't.__("Refresh");t._p("verb","Park");t.__(`It\'s on`)'
    found = translations.translations_for(module, "zh_CN")
    assert found == {key: forms[key] for key in ("Refresh", "verb\x04Park", "It's on")}
    assert translations.translations_for(module, "en") == translations.translations_for(module, "de") == {}


def test_importing_the_package_imports_no_widget_library() -> None:
    code = "import sys, fastgpu_jupyter; print({'ipywidgets', 'anywidget', 'IPython'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# ---- real kernels ----------------------------------------------------------------------------------------------------


class Comm:
    """A front end's end of a widget's comm, without a browser."""

    def __init__(self, kernel: Kernel, comm_id: str) -> None:
        self._kernel = kernel
        self.comm_id = comm_id
        self._number = 0

    def send(self, action: str, **args: Any) -> str:
        """Send a request; return its id."""
        self._number += 1
        content = {"kind": "fastgpu", "id": f"{self._number}", "action": action, "args": args}
        data = {"method": "custom", "content": content}
        client = self._kernel.client
        client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": self.comm_id, "data": data}))
        return f"{self._number}"

    def ask(self, action: str, **args: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        return self.receive(self.send(action, **args))

    def receive(self, request: str | None) -> dict[str, Any]:
        """Return the next message of the widget that answers ``request``, or none."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            message = self._kernel.client.get_iopub_msg(timeout=DEADLINE_S)
            if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == self.comm_id:
                content: dict[str, Any] = message["content"]["data"]["content"]
                if content["id"] == request:
                    return content
        raise AssertionError(f"The widget does not answer {request}")


def show_widget(kernel: Kernel, code: str = "%fastgpu widget") -> Comm:
    ran = kernel.run(code)
    views = [m["content"]["data"][VIEW] for m in ran.messages if VIEW in m["content"].get("data", {})]
    assert len(views) == 1, ran
    return Comm(kernel, views[0]["model_id"])


@pytest.mark.slow
def test_requests_of_a_widget_are_served_while_a_cell_runs(
    pool: PoolProcess, kernels: KernelHelper, isolated: Path
) -> None:
    kernel = kernels.start()
    assert kernel.value("'anywidget' in __import__('sys').modules") == "False"
    comm = show_widget(kernel, "from fastgpu_jupyter import GPUWidget\nshown = GPUWidget()\nshown")
    other = show_widget(kernel)
    kernel.run("seen = []\nshown.observe(lambda change: seen.append(change.new), 'size')")

    flag = isolated / "flag"
    cell = kernel.run_until(flag)
    assert comm.ask("pin")["lease"]["parking"]["retention"] == "hold"
    assert other.receive(None)["lease"]["parking"]["retention"] == "hold"  # they agree
    assert comm.ask("resize", size="half")["lease"]["request"]["size"] == "half"
    refused = comm.ask("resize", size="3 elephants")
    assert refused["error"]["code"] == "invalid_request"
    assert refused["lease"]["request"]["size"] == "half"
    assert "Give a size" in comm.ask("resize")["error"]["message"]["text"]
    assert "has no action frobnicate" in comm.ask("frobnicate")["error"]["message"]["text"]
    assert pool.lease(kernel.lease_id)["parking"]["retention"] == "hold"
    update_in_cell = kernel.message(cell, "update_display_data")
    assert "half" in update_in_cell["content"]["data"]["text/plain"]
    flag.touch()
    assert kernel.reply(cell)["status"] == "ok"  # so all of that was served while it ran
    assert kernel.value("(seen, shown.size, shown.state)") == "(['half'], 'half', 'active')"

    ran = kernel.run("shown.size = 'full'")
    assert ran.reply["ename"] == "TraitError"
    assert comm.ask("release")["lease"]["state"] in {"draining", "ended"}


@pytest.mark.slow
def test_requests_of_a_widget_are_served_while_a_cell_waits(pool: PoolProcess, kernels: KernelHelper) -> None:
    holder = pool.client.request("full", token=new_token())
    kernel = kernels.start()
    comm = show_widget(kernel)  # of a lease that waits
    cell = kernel.send("print('ran')")
    kernel.message(cell, "display_data")
    assert comm.ask("refresh")["lease"]["queue"]["position"] == 1
    assert comm.ask("resize", size="half")["lease"]["state"] == "waiting"
    pool.client.release(holder["id"])
    assert kernel.collect(cell).stream() == "ran\n"
    ran = kernel.run(
        "from fastgpu_jupyter import GPUWidget, lease_progress\nwidget = GPUWidget()\n"
        "with lease_progress():\n    widget.park()\n    print([step.state for step in lease_progress()][-1])"
    )
    assert ran.stream() == "parked\n", ran
    assert any("Variables and GPU memory are kept" in text for text in ran.shown()), ran


@pytest.mark.slow
def test_notebook_without_a_front_end_keeps_a_table_of_the_lease(pool: PoolProcess, isolated: Path) -> None:
    cells = ["from fastgpu_jupyter import GPUWidget\nGPUWidget()", "held = bytearray(2**20)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, kernel_name="fastgpu", resources={"metadata": {"path": str(isolated)}}).execute()
    view, table = notebook.cells[0].outputs
    assert VIEW in view["data"]
    assert view["data"]["text/plain"] != ""
    for text in (table["data"]["text/plain"], table["data"]["text/html"]):
        assert f"GPU lease at {time.strftime('%Y-')}" in text
        assert "A100-80GB (simulated)" in text
        assert "active" in text
    assert notebook.cells[1].outputs == []
    nbformat.validate(notebook)
    json.dumps(notebook)
    wait_until(lambda: not pool.live(), "the lease ended with the kernel")
