"""The parameters of a notebook, as papermill has them.

They are assigned in a cell of their own after the one that has the tag ``parameters``, or before all others; one that
an earlier run has put there is replaced.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from ...errors import InvalidRequest, Message

TAG, INJECTED_TAG = "parameters", "injected-parameters"


def with_parameters(notebook: NotebookNode, parameters: Mapping[str, Any], language: str) -> NotebookNode:
    """Put ``parameters`` into the notebook, and return it.

    Raises :class:`InvalidRequest` where a name is none of a variable, or the language is not Python.
    """
    if not parameters:
        return notebook
    if language.lower() != "python":
        raise InvalidRequest(Message.of("jobs.parameters_language", language=language))
    lines = ["# Parameters", *(f"{_name(name)} = {_literal(name, value)}" for name, value in parameters.items())]
    cell = new_code_cell("\n".join(lines), metadata={"tags": [INJECTED_TAG]})
    if notebook.nbformat_minor < 5:
        cell.pop("id", None)  # cells have ids from 4.5 on
    cells = notebook.cells
    places = {tag: index for tag in (INJECTED_TAG, TAG) if (index := _index(cells, tag)) is not None}
    if INJECTED_TAG in places:
        cells[places[INJECTED_TAG]] = cell
    else:
        cells.insert(places[TAG] + 1 if TAG in places else 0, cell)
    return notebook


def _index(cells: list[NotebookNode], tag: str) -> int | None:
    return next((index for index, cell in enumerate(cells) if tag in cell.metadata.get("tags", [])), None)


def _name(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise InvalidRequest(Message.of("jobs.parameter_name", name=name))
    return name


def _literal(name: str, value: Any) -> str:
    """Return a value of JSON as Python writes it."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(_literal(name, one) for one in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_literal(name, one)}" for key, one in value.items()) + "}"
    raise InvalidRequest(Message.of("jobs.parameter_value", name=name, type=type(value).__name__))
