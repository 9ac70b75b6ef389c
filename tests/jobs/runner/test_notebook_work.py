"""Cells and notebooks as jobs: a real runner, a real kernel, a real pool."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.jobs.work.kernels import python_spec, spec_of_notebook, why_not_started
from fastgpu_jupyter.jobs.work.parameters import with_parameters
from fastgpu_jupyter.messages import render
from tests.helpers import PoolProcess
from tests.jobs.runner.attempt import Attempt

Run = Callable[..., Attempt]


@pytest.fixture
def cell(pool: PoolProcess, tmp_path: Path) -> Iterator[Run]:
    """Make attempts of jobs that run a cell."""
    made: list[Attempt] = []

    def make(code: str, inputs: dict[str, Any] | None = None, outputs: tuple[str, ...] = (), **body: Any) -> Attempt:
        pickled = cloudpickle.dumps(inputs or {}, protocol=5)
        program = {
            "code": code, "inputs": "inputs.pickle" if inputs else None,
            "sha256": hashlib.sha256(pickled).hexdigest() if inputs else None, "outputs": list(outputs),
        }  # fmt: skip
        attempt = Attempt(pool, tmp_path, "cell", program, **body)
        (attempt.payload / "inputs.pickle").write_bytes(pickled)
        made.append(attempt)
        return attempt

    yield make
    for attempt in made:
        attempt.end()


@pytest.mark.slow
def test_cell_takes_inputs_and_leaves_outputs(cell: Run, tmp_path: Path) -> None:
    def double(value: int) -> int:
        return 2 * value

    code = (
        "for name in ('declared', 'undeclared'):\n    open(name + '.csv').read()\nimport os\nprint('printed')\n%pwd\n"
        "y = double(x)\nz = {'a': y}\nfastgpu = os.environ['FASTGPU_JOB']\ny"
    )
    declared = [{"category": "file", "name": "f", "digest": "0" * 64, "shown": str(tmp_path / "declared.csv")}]
    cache = {"key": "0" * 64, "ingredients": declared, "refresh": False, "reason": None}
    for name in ("declared.csv", "undeclared.csv"):
        (tmp_path / name).write_text("1")
    attempt = cell(code, {"x": 21, "double": double}, ("y", "z", "fastgpu"), cache=cache)
    outcome = attempt.run()
    assert (outcome["state"], outcome["error"]) == ("done", None)
    assert [one["path"] for one in outcome["opened"]] == [str(tmp_path / "undeclared.csv")]
    manifest = attempt.manifest()
    values = {name: attempt.store.value(value.digest) for name, value in manifest.values.items()}
    assert values == {"y": 42, "z": {"a": 42}, "fastgpu": attempt.mark}
    assert manifest.values["y"].type == "int"
    outputs = json.loads(attempt.store.content(str(manifest.outputs)))
    assert [output["output_type"] for output in outputs] == ["stream", "execute_result"]
    assert attempt.log == "printed\n42\n"


@pytest.mark.slow
def test_cell_keeps_what_it_can_of_its_outputs(cell: Run) -> None:
    attempt = cell("y = 1\ngenerator = (i for i in 'ab')\nprint('ran')", outputs=("y", "model", "generator"))
    outcome = attempt.run()
    assert outcome["state"] == "failed"
    assert "The output generator cannot be kept" in outcome["error"]["text"]
    manifest = attempt.manifest()
    assert list(manifest.values) == ["y"]
    assert "ran" in attempt.store.content(str(manifest.outputs)).decode()


@pytest.mark.slow
def test_cell_is_interrupted_in_its_kernel(cell: Run) -> None:
    code = (
        "import fastgpu_jupyter, time\nfastgpu_jupyter.progress(1, 2)\nprint('runs', flush=True)\n"
        "try:\n    time.sleep(1000)\nfinally:\n    print('saved', flush=True)"
    )
    attempt = cell(code, outputs=("y",))
    attempt.start()
    attempt.wait_for_log("runs\n")
    work = next(pid for pid in attempt.live() if "notebook" in Path(f"/proc/{pid}/cmdline").read_text())
    os.killpg(work, signal.SIGINT)  # as a runner does
    outcome = attempt.wait()
    assert (outcome["state"], outcome["error"]["name"]) == ("failed", "KeyboardInterrupt")
    assert "KeyboardInterrupt" in outcome["error"]["traceback"][-1]
    assert "saved" in attempt.log
    outputs = json.loads(attempt.store.content(str(attempt.manifest().outputs)))
    assert [output["output_type"] for output in outputs] == ["stream", "error"]


@pytest.mark.slow
def test_notebook_runs_with_parameters_and_is_kept_when_a_cell_fails(pool: PoolProcess, tmp_path: Path) -> None:
    cells = [
        new_code_cell("lr = 0.1\nepochs = 3", metadata={"tags": ["parameters"]}),
        new_code_cell("print('lr', lr, epochs)"),
        new_code_cell("1 / 0"),
        new_code_cell("print('never')"),
    ]
    notebook = new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "fastgpu", "display_name": "x", "language": "python"}}
    )
    program = {"notebook": "notebook.ipynb", "parameters": {"lr": 0.2}, "kernel": None}
    attempt = Attempt(pool, tmp_path, "notebook", program)
    (attempt.payload / "notebook.ipynb").write_text(nbformat.writes(notebook))
    outcome = attempt.run()
    assert (outcome["state"], outcome["error"]["name"]) == ("failed", "ZeroDivisionError")
    kept = nbformat.reads(attempt.store.content(str(attempt.manifest().notebook)).decode(), as_version=4)
    assert [one.execution_count for one in kept.cells] == [1, 2, 3, 4, None]
    assert kept.cells[1].metadata.tags == ["injected-parameters"]
    assert kept.cells[2].outputs[0].text == "lr 0.2 3\n"
    assert [view["id"] for view in pool.client.leases()][-1] == attempt.lease_id  # its kernel has no lease of its own
    unknown = Attempt(pool, tmp_path, "notebook", {**program, "kernel": "nosuch"})
    (unknown.payload / "notebook.ipynb").write_text(nbformat.writes(notebook))
    assert "There is no kernel nosuch here" in unknown.run()["error"]["text"]


@pytest.mark.slow
def test_kernel_that_does_not_start_is_explained(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    missing = why_not_started(python_spec("/nowhere/python"), FileNotFoundError())
    assert "there is no /nowhere/python" in render(missing)
    assert "-m pip install ipykernel" in render(why_not_started(python_spec(str(bare)), RuntimeError("died")))
    assert "died" in render(why_not_started(python_spec(sys.executable), RuntimeError("died")))


def test_parameters_are_assigned_after_their_cell() -> None:
    def sources(**parameters: Any) -> list[str]:
        cells = [new_code_cell("import os"), new_code_cell("a = 1", metadata={"tags": ["parameters"]})]
        notebook = with_parameters(new_notebook(cells=cells), parameters, "python")
        again = with_parameters(notebook, parameters, "python")
        return [one.source for one in again.cells]

    values = {"a": [1, None, {"k": True}], "b": float("inf"), "c": "it's"}
    assert sources(**values)[2] == "# Parameters\na = [1, None, {'k': True}]\nb = float('inf')\nc = \"it's\""
    assert len(sources(a=2)) == 3
    assert sources() == ["import os", "a = 1"]
    without = with_parameters(new_notebook(cells=[new_code_cell("b")]), {"b": 1}, "python")
    assert [one.source for one in without.cells] == ["# Parameters\nb = 1", "b"]
    for name in ("a b", "a=1\nb", "class", ""):
        with pytest.raises(InvalidRequest):
            sources(**{name: 1})
    with pytest.raises(InvalidRequest):
        with_parameters(new_notebook(), {"a": 1}, "R")


def test_kernel_of_a_notebook_has_no_provisioner(isolated: Path) -> None:
    chosen = spec_of_notebook({}, "fastgpu", "/usr/bin/python3")
    assert "fastgpu_jupyter.kernel" not in chosen.argv
    assert chosen.metadata["kernel_provisioner"]["provisioner_name"] == "local-provisioner"
    named = spec_of_notebook({"kernelspec": {"name": "x", "language": "python"}}, None, "/usr/bin/python3")
    assert named.argv[:3] == ["/usr/bin/python3", "-m", "ipykernel_launcher"]
    with pytest.raises(InvalidRequest):
        spec_of_notebook({"kernelspec": {"name": "ir", "language": "R"}}, None, "/usr/bin/python3")
