"""The demo notebook: committed clean, and it runs to its end on a simulated logical GPU."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.helpers import PoolProcess
from tests.views import value_of

NOTEBOOK = Path(__file__).resolve().parent.parent.parent / "binder/digits.ipynb"
MINUTE_S = 60


def test_it_is_committed_without_outputs_and_for_our_kernel() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "fastgpu"
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)
        if cell.cell_type == "code" and not cell.source.startswith("%"):
            ast.parse(cell.source)


def said(cell: nbformat.NotebookNode) -> str:
    """What a cell printed, in however many pieces it came."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


@pytest.mark.slow
def test_it_learns_and_says_plainly_where(pool: PoolProcess, installed: None, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "jupyter", "execute", "--output", str(tmp_path / "done.ipynb"), str(NOTEBOOK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, the kernel's included: what else the machine does is not the notebook's.
    took_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode == 0, done.stderr[-2000:]
    assert took_s < MINUTE_S

    cells = {cell.id: cell for cell in nbformat.read(tmp_path / "done.ipynb", as_version=4).cells}
    assert "simulated" in str(cells["before"].outputs).lower()
    assert "simulated" in str(cells["after"].outputs).lower()
    # Simulated devices hide the real ones, so this runs on the CPU wherever the test does.
    assert "The training runs on the CPU, with NumPy" in said(cells["where"])
    percent = [float(found) for found in re.findall(r"([\d.]+)% of the test images", said(cells["learning"]))]
    assert percent[-1] > 95
    assert percent[-1] > percent[0]
    shown = str(cells["learning"].outputs)
    assert "What this cell used" in shown
    assert "half" in shown
    assert "application/vnd.jupyter.widget-view+json" in cells["before"].outputs[0].data
    assert "image/png" in cells["plot"].outputs[0].data

    [lease] = pool.client.leases()
    assert lease["request"]["size"] == "half"
    assert (lease["state"], value_of(lease["end_reason"])) == ("ended", "released")
    assert lease["money"]["cost_micro"] > 0
