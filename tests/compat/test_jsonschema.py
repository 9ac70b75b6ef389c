"""``compat.jsonschema`` against the installed version: it is imported sooner, and notebooks are validated as before."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from fastgpu_jupyter.compat.jsonschema import import_without_slow_formats
import_without_slow_formats()
import nbformat
from nbformat.v4 import new_code_cell, new_notebook
nbformat.validate(new_notebook(cells=[new_code_cell("1")]))
try:
    nbformat.validate(new_notebook(cells=[{"cell_type": "code"}]))
except nbformat.ValidationError:
    print("lark" in sys.modules, sys.modules.get("rfc3987_syntax"))
"""


@pytest.mark.slow
def test_jsonschema_is_imported_without_slow_formats() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "None"]
