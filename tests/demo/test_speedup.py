"""The notebook about speed-up: committed clean, right about the article's figures, and it runs on a simulated GPU."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from fastgpu_jupyter.jobs import client as jobs_client
from tests.demo.test_digits import MINUTE_S, said
from tests.helpers import PoolProcess

NOTEBOOK = Path(__file__).resolve().parent.parent.parent / "binder/speedup.ipynb"


@pytest.fixture
def no_dispatcher_is_left() -> Iterator[None]:
    yield
    running = jobs_client.running_dispatcher()
    if running is not None:
        running.stop()
        running.close()


def test_it_is_committed_without_outputs_and_for_our_kernel() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "fastgpu"
    assert all(cell.cell_type == "markdown" or not (cell.outputs or cell.execution_count) for cell in notebook.cells)


@pytest.mark.slow
def test_it_runs_and_measures_nothing_on_simulated_devices(
    pool: PoolProcess, installed: None, tmp_path: Path, no_dispatcher_is_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "jupyter", "execute", "--output", str(tmp_path / "done.ipynb"), str(NOTEBOOK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr[-2000:]
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < MINUTE_S

    cells = {cell.id: cell for cell in nbformat.read(tmp_path / "done.ipynb", as_version=4).cells}
    article = said(cells["article"])
    assert re.search(r"from the inputs +T_cpu +1 s +T_gpu 1e-04 s +speed-up +10,000\n", article)
    assert re.search(r"as the text says +T_cpu +10 s +T_gpu 1e-02 s +speed-up +1,000\n", article)
    assert re.search(r"printed formula .* 0\.0001\n", article)
    assert "10.00% serial:     10.0 times as fast" in said(cells["serial"])
    shown = str(cells["measure"].outputs)
    assert "what it writes or sends, it does twice" in shown
    assert "Speed-up: not measured." in shown
    assert "predicts a speed-up of 2 and a cost ratio of 1" in shown
    assert said(cells["jobs"]).count("on the CPU, with NumPy 20 products of 300 x 300") == 2
    jobs = {lease["holder"]["job"] for lease in pool.client.leases() if lease["holder"]["job"]}
    assert len(jobs) == 2
