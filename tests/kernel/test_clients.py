"""The programs that run notebooks without JupyterLab: nbconvert, papermill, jupyter run and a bare client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.helpers import KernelHelper, PoolProcess
from tests.views import value_of
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow

CODE = "import os\nprint('granted', os.environ['FASTGPU_SIMULATED'])"


def write_notebook(folder: Path) -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(CODE), nbformat.v4.new_code_cell("print('second')")]
    notebook.metadata["kernelspec"] = {"name": "fastgpu", "display_name": "Python 3 (FastGPU)", "language": "python"}
    path = folder / "in.ipynb"
    nbformat.write(notebook, path)
    return path


def run(*command: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=3 * DEADLINE_S)
    assert process.returncode == 0, out
    return out


def outputs(path: Path) -> list[list[dict[str, Any]]]:
    return [cell["outputs"] for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


COMMANDS = {
    "nbconvert": ("nbconvert", "--to", "notebook", "--execute", "in.ipynb", "--output", "out.ipynb"),
    "papermill": ("papermill", "in.ipynb", "out.ipynb", "--no-progress-bar"),
    "jupyter run": ("jupyter_client.runapp", "--kernel", "fastgpu", "script.py"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_granted_at_once(
    pool: PoolProcess, isolated: Path, installed: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("FASTGPU_SIZE", "half")
    write_notebook(isolated)
    (isolated / "script.py").write_text(CODE)
    said = finish(run(*COMMANDS[name], cwd=isolated))
    check(isolated, name, said)
    wait_until(lambda: not pool.live(), "the lease ends")
    ended = pool.client.leases()[-1]
    assert value_of(ended["end_reason"]) == "released"
    assert ended["request"]["size"] == "half"
    document = "script.py" if name == "jupyter run" else "in.ipynb"
    assert ended["holder"]["notebook"] == str(isolated / document)


@pytest.mark.parametrize("name", COMMANDS)
def test_runner_that_waited_leaves_no_trace_of_the_wait(
    pool: PoolProcess, isolated: Path, kernels: KernelHelper, name: str
) -> None:
    first = kernels.start()
    write_notebook(isolated)
    (isolated / "script.py").write_text(CODE)
    process = run(*COMMANDS[name], cwd=isolated)
    wait_until(pool.client.queue, "it waits")
    kernels.stop(first)
    check(isolated, name, finish(process))
    wait_until(lambda: not pool.live(), "the lease ends")


def check(folder: Path, name: str, said: str) -> None:
    if name == "jupyter run":
        assert "granted 1" in said
        return
    first, second = outputs(folder / "out.ipynb")
    assert [output["text"] for output in first] == [["granted 1\n"]]
    assert [output["text"] for output in second] == [["second\n"]]


def test_bare_client_waits_and_runs(pool: PoolProcess, kernels: KernelHelper) -> None:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="fastgpu")
    try:
        reply = client.execute_interactive(CODE, timeout=DEADLINE_S)
        assert reply["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    wait_until(lambda: not pool.live(), "the lease ends")


def test_killed_runner_leaves_no_lease(pool: PoolProcess, isolated: Path, installed: None) -> None:
    path = write_notebook(isolated)
    path.write_text(path.read_text().replace("print('second')", "import time; time.sleep(600)"))
    process = run(*COMMANDS["nbconvert"], cwd=isolated)
    lease = wait_until(
        lambda: [view for view in pool.live() if view["holder"]["pid"] != process.pid], "the kernel holds it"
    )
    process.kill()
    process.communicate()
    wait_until(lambda: not pool.live(), "the lease ends")
    assert value_of(pool.lease(lease[0]["id"])["end_reason"]) == "holder_died"


@pytest.mark.parametrize(
    "command",
    [(*COMMANDS["nbconvert"], "--ExecutePreprocessor.timeout=1"), (*COMMANDS["papermill"], "--execution-timeout", "1")],
    ids=["nbconvert", "papermill"],
)
def test_time_out_of_a_cell_in_the_queue_says_so(
    pool: PoolProcess, isolated: Path, kernels: KernelHelper, command: tuple[str, ...]
) -> None:
    kernels.start()
    write_notebook(isolated)
    process = run(*command, cwd=isolated)
    said, _ = process.communicate(timeout=3 * DEADLINE_S)
    assert process.returncode != 0
    assert "CellTimeoutError" in said
    assert "The time ran out while the notebook waited for a GPU, at position 1 in the queue." in said
    wait_until(lambda: len(pool.live()) == 1, "the lease of the notebook ends")


def test_time_out_of_a_cell_that_runs_says_nothing_of_a_queue(
    pool: PoolProcess, isolated: Path, installed: None
) -> None:
    path = write_notebook(isolated)
    path.write_text(path.read_text().replace("print('second')", "import time; time.sleep(600)"))
    process = run(*COMMANDS["nbconvert"], "--ExecutePreprocessor.timeout=1", cwd=isolated)
    said, _ = process.communicate(timeout=3 * DEADLINE_S)
    assert "CellTimeoutError" in said
    assert "waited for a GPU" not in said


def test_notebook_that_waits_for_the_gpu_of_its_own_cell_says_so(
    pool: PoolProcess, isolated: Path, kernels: KernelHelper
) -> None:
    write_notebook(isolated)
    outer = kernels.start(notebook="outer.ipynb")
    command = " ".join(COMMANDS["papermill"])
    cell = outer.send(f"!{sys.executable} -m {command}")
    said = ""
    while "of outer.ipynb, holds a GPU" not in said:  # by the program, in the output of the cell that runs it
        said += outer.message(cell, "stream")["content"]["text"]
    nested = wait_until(pool.client.queue, "it waits")[0]["lease_id"]
    assert outer.manager is not None
    outer.manager.interrupt_kernel()
    assert outer.collect(cell).status in ("ok", "error")
    pool.wait_state(str(nested), "ended")
    assert pool.state(outer.lease_id) == "active"
