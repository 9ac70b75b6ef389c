"""What a cell needs and defines, by its syntax tree."""

from __future__ import annotations

import math
import types
from typing import Any

import pytest

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.jobs.cells import JobCell, is_code, require_outputs, sent
from fastgpu_jupyter.messages import text_of


def train(x: int) -> int:
    """Return what it is given."""
    return x


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("model = train(x, y, lr=0.1)", {"train", "x", "y"}),
        ("x = 1\nprint(x)", set()),
        ("x += 1", {"x"}),
        ("x = x + 1", {"x"}),
        ("for i in data:\n    total = i", {"data"}),
        ("total = sum(v * v for v in values)", {"values"}),
        ("v = [v for v in v]", {"v"}),
        ("def f(a, b=c):\n    return a + d\nf(1)", {"c", "d"}),
        ("def f():\n    return z\nz = 1\nf()", set()),
        ("import numpy as np\nnp.zeros(n)", {"n"}),
        ("import os.path\nos.getcwd()", set()),
        ("try:\n    pass\nexcept ValueError as e:\n    print(e)", set()),
        ("with open(path) as f:\n    text = f.read()", {"path"}),
        ("if (n := len(items)) > 2:\n    print(n)", {"items"}),
        ("match point:\n    case (a, b):\n        print(a, b)", {"point"}),
        ("class A(Base):\n    y = x", {"Base", "x"}),
        ("f = lambda a: a + q", {"q"}),
        ("x: int\nprint(x)", {"x"}),
        ("display(df); get_ipython(); In", {"df"}),
        ("a, *b = pair\nprint(a, b)", {"pair"}),
        ("def f():\n    global made\n    made = 1\nf()\nprint(made)", {"made"}),
    ],
)
def test_used_has_the_names_from_outside(code: str, used: set[str]) -> None:
    assert JobCell(code).used() - {"made"} == used - {"made"}


def test_defined_has_what_the_top_level_binds_and_globals_of_functions() -> None:
    code = "import a.b, c as d\nfrom e import f\nx = y = 1\nfor i in []: pass\nclass K: q = 1\n"
    code += "def g():\n    global h\n    h = z = 1"
    assert JobCell(code).defined() == {"a", "d", "f", "x", "y", "i", "g", "h", "K"}


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("model = train(x)", "train"),
        ("m = t.fit(x)\nprint(m)", "fit"),
        ("x = 1", ""),
        ("print(1)", ""),
        ("(lambda: 1)()", ""),
    ],
)
def test_title_is_the_function_that_is_called_last(code: str, title: str) -> None:
    assert JobCell(code).title() == title


def test_sent_has_inputs_and_code_but_no_variable_that_is_not_named() -> None:
    namespace: dict[str, Any] = {
        "x": 1,
        "y": 2,
        "train": train,
        "math": math,
        "Fake": types.SimpleNamespace,
        "other": 3,
    }
    cell = JobCell("model = train(x) + math.pi + Fake().z")
    assert sent(cell, ["x"], namespace) == {"x": 1, "train": train, "math": math, "Fake": types.SimpleNamespace}
    assert sent(JobCell("print(1)"), ["y"], namespace) == {"y": 2}
    with pytest.raises(InvalidRequest) as refused:
        sent(JobCell("train(x, y)"), ["y"], namespace)
    assert "uses x of this notebook, which a job does not see by itself. Name them: --in y,x." in text_of(refused.value)


def test_sent_names_what_is_not_defined_and_what_is_like_it() -> None:
    namespace = {"images": 1}
    for cell, inputs, says in (
        (JobCell("1"), ["image"], "no variable `image` in this notebook for --in; did you mean `images`?"),
        (JobCell("1"), ["zzz"], "no variable `zzz` in this notebook for --in. Nothing"),
        (
            JobCell("print(image)"),
            [],
            "uses `image`, which neither it nor this notebook defines; did you mean `images`?",
        ),
        (JobCell("print(zzz)"), [], "uses `zzz`, which neither it nor this notebook defines. Nothing"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            sent(cell, inputs, namespace)
        assert says in text_of(refused.value)


def test_names_that_cannot_be_known_are_not_refused() -> None:
    for code in (
        "from numpy import *\nprint(zeros(2))",
        "exec('a = 1')\nprint(a)",
        "get_ipython().run_line_magic('run', 'a.py')\na",
    ):
        cell = JobCell(code)
        assert cell.is_open
        assert sent(cell, [], {}) == {}
        require_outputs(cell, ["anything"], {})


def test_require_outputs_accepts_what_the_cell_defines_and_what_goes_in() -> None:
    cell = JobCell("model = 1")
    require_outputs(cell, ["model", "x"], {"x": 1})
    for name, says in (
        ("modol", "does not define `modol`, which --out names; did you mean `model`?"),
        ("zz", "names. Nothing"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            require_outputs(cell, [name], {})
        assert says in text_of(refused.value)


def test_is_code_tells_functions_from_data() -> None:
    numpy = pytest.importorskip("numpy")
    assert all(map(is_code, (math, math.sin, train, int, numpy.sin, lambda: 1)))
    assert not any(map(is_code, (1, "a", numpy.zeros(1), types.SimpleNamespace(), [train])))
