"""Keys of cells, notebooks and commands, what has no key and why, and what an explanation says."""

from __future__ import annotations

import json
import linecache
import os
import random
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastgpu_jupyter.jobs.cache import (
    CacheKey,
    Declared,
    Ingredient,
    NotCacheable,
    closest,
    collision,
    declared_paths,
    difference,
    key_of_cell,
    key_of_command,
    key_of_function,
    key_of_notebook,
    limits,
    same,
    why_hit,
    why_miss,
)
from fastgpu_jupyter.jobs.cache.distributions import versions_of
from fastgpu_jupyter.messages import render
from tests.jobs.cache.programs import submitted


def key(found: CacheKey | NotCacheable) -> CacheKey:
    assert isinstance(found, CacheKey), render(found.message)
    return found


def reason(found: CacheKey | NotCacheable) -> str:
    assert isinstance(found, NotCacheable)
    return render(found.message)


def call(code: str, name: str = "/tmp/ipykernel_2/1.py") -> CacheKey | NotCacheable:
    """Return the key of the call in the last line of ``code``."""
    return key_of_function(*submitted(code, name))


def cell(code: str, namespace: Mapping[str, Any] | None = None, inputs: tuple[str, ...] = (), **more: Any) -> CacheKey:
    return key(key_of_cell(code, {"__name__": "__main__", **(namespace or {})}, inputs, **more))


# -- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "shares"),
    [
        ("y = x + 1", "y = x + 1  # more", True),
        ("y = x + 1", "\n\ny = (x+1)", True),
        ("y = x + 1", "y = x + 2", False),
        ("y = x + 1", "z = x + 1", False),
        ("%time y = x", "%time  y = x", False),  # the text of a magic is its argument
        ("%matplotlib inline\ny = x", "%matplotlib inline\ny = x  # comment", True),
        ("await x", "await x #", True),
    ],
)
def test_cells_share_a_key_where_they_are_the_same_program(one: str, other: str, shares: bool) -> None:
    keys = [cell(code, {"x": 1}, ("x",)).digest for code in (one, other)]
    assert (keys[0] == keys[1]) is shares


def test_cell_depends_on_its_inputs_and_on_what_it_reaches_and_on_nothing_else() -> None:
    def helper(x: int) -> int:
        return x

    first = cell("y = helper(x)", {"x": 1, "helper": helper, "spare": 1}, ("x",))
    assert cell("y = helper(x)", {"x": 1, "helper": helper, "spare": 2}, ("x",)) == first
    assert cell("y = helper(x)", {"x": 2, "helper": helper}, ("x",)).digest != first.digest
    assert cell("y = helper(x)", {"x": 1, "helper": len}, ("x",)).digest != first.digest
    assert cell("y = helper(x)", {"x": 1, "helper": helper}, ("x",), outputs=("y",)).digest != first.digest
    assert cell("y = helper(x)", {"x": 1, "helper": helper, "z": 3}, ("x", "z")).digest != first.digest


@pytest.mark.parametrize(
    ("code", "depends"),
    [
        ("k = 2\ny = k", False),
        ("k, m = 2, 3\ny = k", False),
        ("import math as k\ny = k.pi", False),
        ("def k():\n    return k\ny = k()", False),
        ("y = k", True),
        ("k = k + 1", True),
        ("k += 1", True),
        ("if y:\n    k = 2\nz = k", True),
        ("for k in []:\n    pass\nz = k", True),
        ("def f():\n    return k\nf()", True),
        ("def f():\n    return k\nf()\nk = 2", True),
    ],
)
def test_cell_depends_on_a_name_of_the_notebook_unless_it_certainly_sets_it_first(code: str, depends: bool) -> None:
    keys = [cell(code, {"k": value, "y": 0}, ("y",)).digest for value in (1, 2)]
    assert (keys[0] != keys[1]) is depends


def test_cell_sees_a_replaced_function_of_a_library_that_it_imports_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cell("import numpy as np\ny = np.mean([1])")
    monkeypatch.setattr(np, "mean", np.median)
    assert cell("import numpy as np\ny = np.mean([1])").digest != first.digest


def test_cell_has_the_version_of_what_it_imports_and_of_what_that_needs() -> None:
    names = {one["name"]: one["shown"] for one in cell("import sklearn.svm").ingredients}
    assert names["scikit-learn"]
    assert names["numpy"] == np.__version__
    assert "hypothesis" not in names


def test_input_that_is_not_defined_and_code_that_is_no_python_have_a_reason() -> None:
    assert "the input x is not defined" in reason(key_of_cell("y = x", {}, ["x"]))
    assert "not valid Python" in reason(key_of_cell("y = = 1", {}, []))


# -- notebooks and commands -------------------------------------------------------------------------------------------


def notebook(*cells: str, text: str = "", tags: tuple[str, ...] = ()) -> dict[str, Any]:
    code = [{"cell_type": "code", "source": source, "metadata": {"tags": list(tags)}} for source in cells]
    return {
        "cells": [*code, {"cell_type": "markdown", "source": text}],
        "metadata": {"kernelspec": {"name": "python3"}},
    }


def test_notebook_depends_on_code_parameters_and_kernel_and_not_on_text() -> None:
    first = key(key_of_notebook(notebook("x = 1", "y = x"), {"lr": 0.1}))
    assert key(key_of_notebook(notebook("x = 1  # one", "y = x", text="new"), {"lr": 0.1})) == first
    others = (
        key_of_notebook(notebook("x = 2", "y = x"), {"lr": 0.1}),
        key_of_notebook(notebook("y = x", "x = 1"), {"lr": 0.1}),
        key_of_notebook(notebook("x = 1\ny = x"), {"lr": 0.1}, kernel="other"),
        key_of_notebook(notebook("x = 1", "y = x"), {"lr": 0.2}),
        key_of_notebook(notebook("x = 1", "y = x", tags=("parameters",)), {"lr": 0.1}),
    )
    assert len({first.digest, *(key(one).digest for one in others)}) == len(others) + 1


def test_command_depends_on_words_program_script_and_modules(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import tools\nprint(tools.x)\n")
    (tmp_path / "tools.py").write_text("x = 1\n")
    environment = {"interpreter": sys.executable, "cwd": str(tmp_path), "variables": {"PATH": os.environ["PATH"]}}

    def made(*argv: str) -> str:
        return key(key_of_command(argv, environment=environment)).digest

    first = made(sys.executable, "train.py", "--lr", "0.1")
    assert made(sys.executable, "train.py", "--lr", "0.1") == first
    digests = {
        first,
        made(sys.executable, "train.py", "--lr", "0.2"),
        made(sys.executable, "-u", "train.py", "--lr", "0.1"),
    }
    (tmp_path / "tools.py").write_text("x = 2\n")
    digests.add(made(sys.executable, "train.py", "--lr", "0.1"))
    (tmp_path / "train.py").write_text("import tools\nprint(tools.x + 1)\n")
    digests.add(made(sys.executable, "train.py", "--lr", "0.1"))
    (tmp_path / "run").write_text("#!/bin/sh\necho 1\n")
    (tmp_path / "run").chmod(0o700)
    digests |= {made("./run")}
    (tmp_path / "run").write_text("#!/bin/sh\necho 2\n")
    digests |= {made("./run")}
    assert len(digests) == 7
    assert "there is no program missing" in reason(key_of_command(["missing"], environment=environment))


@pytest.mark.slow
def test_job_of_another_interpreter_depends_on_the_versions_of_that_one(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    other.chmod(0o700)
    environment = {"interpreter": str(other), "cwd": str(tmp_path), "variables": {}}
    found = key(key_of_cell("x = 1", {}, [], environment=environment))
    names = {one["name"] for one in found.ingredients if one["category"] == "distribution"}
    assert {"numpy", "pytest"} <= names
    broken = {**environment, "interpreter": str(tmp_path / "missing")}
    assert "could not be read" in reason(key_of_cell("x = 1", {}, [], environment=broken))


# -- what has no key --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("(i for i in [])", "x holds a generator"),
        ("[1, threading.Lock()]", "x[1] holds a _thread.lock"),
        ("{'a': {'b': open(os.devnull)}}", "x['a']['b'] holds a _io.TextIOWrapper"),
        ("sys._getframe()", "x holds a frame"),
        ("np.array([threading.Lock()])", "x[0] holds a _thread.lock"),
        ("Holder()", "x.lock holds a _thread.lock"),
    ],
)
def test_value_without_a_canonical_form_is_named_with_its_place(value: str, says: str) -> None:
    text = (
        "import threading, os, sys, numpy as np\nclass Holder:\n    def __init__(self): self.lock = threading.Lock()\n"
    )
    text += f"def f(x):\n    return x\nx = {value}\n"
    call_of = submitted(text + "f(x)", "/tmp/ipykernel_2/2.py")
    said = reason(key_of_function(*call_of))
    assert says in said
    for one in call_of.args:
        if isinstance(one, dict):
            one["a"]["b"].close()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import threading\nL = threading.Lock()\ndef f():\n    return L\nf()", "L"),
        ("import threading\ndef g(k=threading.Lock()):\n    return k\ndef f():\n    return g()\nf()", "g(k)"),
        ("import threading\ndef a(k):\n    def f():\n        k\n    return f\nf = a(threading.Lock())\nf()", "k"),
        ("import threading\nclass A:\n    lock = threading.Lock()\ndef f():\n    return A\nf()", "A.lock"),
    ],
)  # fmt: skip
def test_what_code_reaches_without_a_canonical_form_is_named(code: str, name: str) -> None:
    assert f"because {name} holds a _thread.lock" in reason(call(code))


def test_lock_of_a_local_module_which_the_job_makes_again_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local_locked.py").write_text(
        "import threading\nL = threading.Lock()\ndef f():\n    return L is None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    key(call("import local_locked\ndef g():\n    return local_locked.f()\ng()"))
    del sys.modules["local_locked"]


def test_depth_number_size_and_time_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    function = "def f(x):\n    return 0\nf(x)"
    deep = f"x = []\nfor _ in range(5000):\n    x = [x]\n{function}"
    assert "more deeply" in reason(call(deep))
    monkeypatch.setattr(limits, "OBJECTS_MAX", 20_000)
    assert "too many to compare" in reason(call(f"x = ()\nfor _ in range(60):\n    x = (x, x)\n{function}"))
    monkeypatch.setattr(limits, "BYTES_MAX", 100)
    large = f"import numpy as np\nx = np.zeros(1000)\n{function}"
    assert "is larger than" in reason(call(large))
    monkeypatch.undo()
    monkeypatch.setattr(limits, "SECONDS_MAX", -1)
    assert "takes more than" in reason(call(large))


def test_cycles_of_functions_classes_and_values_end() -> None:
    code = (
        "class A:\n    def f(self):\n        return B\nclass B(A):\n    def g(self):\n        return A, h\n"
        "def h(x=None):\n    return B\nh.__defaults__ = (h,)\nh.me = h\nA.b = B()\nA.b.a = [A.b, h]\nh()"
    )
    assert key(call(code)) == key(call(code))


@pytest.mark.parametrize("reads", ["os.environ['A']", "os.environ.get('A')", "os.getenv('A')", "dict(os.environ)"])
def test_code_that_reads_the_environment_has_a_key_only_with_declared_variables(reads: str) -> None:
    code = f"import os\ndef f():\n    return {reads}\nf()"
    assert "f reads environment variables and none is declared" in reason(call(code))
    declared = Declared(variables=("A",))
    key(key_of_function(*submitted(code, "/tmp/ipykernel_2/3.py"), declared=declared))


@pytest.mark.parametrize("draws", ["random.random()", "np.random.rand()", "np.random.default_rng(0).random()"])
def test_state_of_generators_of_this_process_is_in_no_key(draws: str) -> None:
    code = f"import random, numpy as np\ndef f():\n    random.seed(0)\n    np.random.seed(0)\n    return {draws}\nf()"
    first = key(call(code))
    random.random()
    np.random.rand()
    assert explained(first, key(call(code))) == []


@pytest.mark.parametrize("value", ["np.zeros(2)", "np.float32(1)", "np.dtype('f4')", "np.random.default_rng(1)"])
def test_version_of_the_library_of_an_argument_is_in_the_key(value: str) -> None:
    found = key(call(f"import numpy as np\ndef f(x):\n    return x\nf({value})"))
    assert ("distribution", "numpy") in {(one["category"], one["name"]) for one in found.ingredients}


def test_names_that_each_kernel_has_are_in_no_key() -> None:
    first = cell("get_ipython().run_line_magic('time', '1')\ny = 1")
    assert cell("get_ipython().run_line_magic('time', '1')\ny = 1", {"get_ipython": threading.Lock}) == first


def test_key_has_a_bounded_number_of_ingredients_with_short_names() -> None:
    names = ", ".join(f"g{number}" for number in range(3_100))
    assert "more than 3000 parts" in reason(key_of_cell(f"y = [{names}]", {}, []))
    long = "g" * 5_000
    found = cell(f"y = {long} + {long}2", {long: 1, f"{long}2": 2})
    named = [one["name"] for one in found.ingredients if one["category"] == "global"]
    assert len(named) == 2
    assert max(map(len, named)) < 500


def test_value_of_a_declared_variable_is_not_in_the_ingredients() -> None:
    environment = {"interpreter": sys.executable, "cwd": "/", "variables": {"TOKEN": "secret-value"}}
    found = key(key_of_cell("x = 1", {}, [], declared=Declared(variables=("TOKEN",)), environment=environment))
    assert "secret-value" not in json.dumps(found.ingredients)


def test_declared_file_that_is_missing_or_no_file_has_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    environment = {"interpreter": sys.executable, "cwd": str(tmp_path), "variables": {}}
    for name, says in (("missing.csv", "No such file"), ("pipe", "no regular file")):
        found = key_of_cell("x = 1", {}, [], declared=Declared(files=(name,)), environment=environment)
        assert name in reason(found)
        assert says in reason(found)


def test_function_whose_source_was_edited_since_has_another_key() -> None:
    name = "/tmp/ipykernel_2/4.py"
    one = submitted("def f(x):\n    return x + 1\nf(1)", name)
    first = key(key_of_function(*one))
    other = submitted("def f(x):\n    return x + 2\nf(1)", name)
    second = key(key_of_function(*other))
    assert first.digest != second.digest
    assert key(key_of_function(*one)).digest != second.digest  # the source is that of the other now
    lines = ["def f(x):\n", "    return x + 1\n"]
    linecache.cache[name] = (1, None, lines, name)
    assert key(key_of_function(*one)) == first


# -- explanations -----------------------------------------------------------------------------------------------------


def explained(one: CacheKey, other: CacheKey) -> list[str]:
    return [render(message) for message in difference(one.ingredients, other.ingredients)]


def test_difference_says_what_changed_from_what_to_what() -> None:
    code = "def train(lr, k=1):\n    return lr * k\ntrain({})"
    first = key(call(code.format("0.1")))
    assert explained(first, key(call(code.format("0.2")))) == ["`lr` changed from 0.1 to 0.2"]
    assert explained(first, key(call(code.format("0.1").replace("* k", "+ k")))) == ["the code of `train` changed"]
    assert explained(first, first) == []
    assert render(why_miss(difference(first.ingredients, key(call(code.format("0.2"))).ingredients))) == (
        "Miss, because `lr` changed from 0.1 to 0.2."
    )
    assert "nothing like it" in render(why_miss([]))
    assert "Hit, because" in render(why_hit())


@pytest.mark.parametrize(
    ("category", "name", "old", "new", "says"),
    [
        ("distribution", "numpy", "2.3", "2.4", "numpy 2.3 → 2.4"),
        ("interpreter", "python", "3.11", "3.12", "python 3.11 → 3.12"),
        ("file", "a.csv", "/d/a.csv", "/d/a.csv", "the file a.csv changed"),
        ("module", "tools", "/d/tools.py", "/d/tools.py", "the module tools changed"),
        ("variable", "DATA", "", "", "the environment variable DATA changed"),
        ("code", "helper", "helper", "helper", "the code of `helper` changed"),
        ("code", "", "", "", "the code changed"),
        ("global", "TABLE", "", "", "the content of `TABLE` changed"),
        ("default", "train(lr)", "1", "2", "`train(lr)` changed from 1 to 2"),
        ("seed", "", "1", "2", "`seed` changed from 1 to 2"),
        ("gpu_model", "", "'A100'", "'H100'", "`gpu_model` changed from 'A100' to 'H100'"),
        ("key", "", "'a'", "'b'", "the key that you gave changed"),
        ("outputs", "", "", "", "other variables are asked for"),
        ("of a newer version", "x", "", "", "the content of `x` changed"),
    ],
)
def test_difference_has_a_phrase_for_each_category(category: str, name: str, old: str, new: str, says: str) -> None:
    def one(shown: str, digest: str) -> Ingredient:
        return Ingredient(category=category, name=name, digest=digest * 64, shown=shown)

    assert [render(message) for message in difference([one(old, "0")], [one(new, "1")])] == [says]


def test_miss_with_many_changes_names_some() -> None:
    many = [Ingredient(category="input", name=f"x{n}", digest="0", shown="") for n in range(9)]
    said = render(why_miss(difference(many, [])))
    assert "`x4` is not used any more and 4 more" in said


def test_change_of_code_is_not_repeated_for_what_the_code_reaches() -> None:
    helper = "def helper(x):\n    return x\n"
    first = cell("y = np.mean(x)", {"x": 1, "np": np}, ("x",))
    other = cell("y = helper(x)", {"x": 2, **exec_in(helper)}, ("x",))
    assert explained(first, other) == ["the code changed", "`x` changed from 1 to 2"]
    one = key(call("def f():\n    return g\nf()"))
    more = key(call("def g():\n    return 1\ndef f():\n    return g\nf()"))
    assert explained(one, more) == ["the code of `g` changed", "the content of `g` changed"]


def exec_in(code: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(code, namespace)
    del namespace["__builtins__"]
    return namespace


def test_key_of_another_cell_explains_no_miss() -> None:
    stored = [(1, cell("y = x + 1", {"x": 1}, ("x",)).ingredients)]
    assert closest(cell("z = w", {"w": 1}, ("w",)).ingredients, stored) is None
    edited = closest(cell("y = x + 2", {"x": 1}, ("x",)).ingredients, stored)
    assert edited is not None
    assert edited[0] == 1


def test_miss_of_a_command_names_its_arguments(tmp_path: Path) -> None:
    environment = {"interpreter": sys.executable, "cwd": str(tmp_path), "variables": {"PATH": os.environ["PATH"]}}
    keys = [key(key_of_command(["sh", "-c", text], environment=environment)).ingredients for text in ("1", "2")]
    said = [render(message) for message in difference(keys[0], keys[1])]
    assert said == ["`arguments` changed from ['-c', '1'] to ['-c', '2']"]
    assert closest(keys[1], [("it", keys[0])]) is not None


def test_closest_key_has_the_same_code_before_it_has_the_same_versions() -> None:
    code = "def train(lr):\n    return lr {}\ntrain({})"
    wanted = key(call(code.format("+ 1", "0.1"))).ingredients
    stored = [
        ("other code", key(call(code.format("+ 2", "0.1"))).ingredients),
        ("other value", key(call(code.format("+ 1", "0.2"))).ingredients),
        ("other all", key(call("def g(y):\n    return y\ng(3)")).ingredients),
    ]
    found = closest(wanted, stored)
    assert found is not None
    assert found[0] == "other value"
    assert closest(wanted, [stored[2]]) is None
    assert closest(wanted, []) is None


def test_collision_is_noticed_by_the_ingredients() -> None:
    code = "def train(lr):\n    return lr\ntrain({})"
    one, other = (key(call(code.format(value))) for value in (1, 2))
    forced = CacheKey(one.digest, other.ingredients)
    assert not same(one.ingredients, forced.ingredients)
    assert same(one.ingredients, one.ingredients[::-1])
    assert "is of something else" in render(collision())


def test_declared_paths_are_the_files_and_modules_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local_seen.py").write_text("x = 1\n")
    (tmp_path / "d.csv").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path))
    environment = {"interpreter": sys.executable, "cwd": str(tmp_path), "variables": {}}
    found = cell("import local_seen", declared=Declared(files=("d.csv",)), environment=environment)
    assert sorted(declared_paths(found.ingredients)) == sorted(
        [str(tmp_path / "d.csv"), str(tmp_path / "local_seen.py")]
    )


def test_version_of_a_distribution_that_is_upgraded_meanwhile_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(version: str) -> None:
        info = tmp_path / f"local_dist-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: local-dist\nVersion: {version}\n")
        (info / "RECORD").write_text("local_dist/__init__.py,,\n")

    install("1.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(versions_of(["local_dist"])) == [("local-dist", "1.0")]
    for part in (tmp_path / "local_dist-1.0.dist-info").iterdir():
        part.unlink()
    (tmp_path / "local_dist-1.0.dist-info").rmdir()
    install("1.1")
    assert list(versions_of(["local_dist"])) == [("local-dist", "1.1")]


def test_key_of_a_builtin_function_a_class_and_methods_of_values() -> None:
    empty: list[int] = []
    functions: tuple[Callable[..., Any], ...] = (abs, int, np.abs, empty.append, [1].append)
    digests = {key(key_of_function(function, (1,), {})).digest for function in functions}
    assert len(digests) == 5


def in_threads(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_keys_made_at_the_same_time_are_those_made_one_after_the_other() -> None:
    array = np.arange(10_000)
    expected = cell("y = x", {"x": array}, ("x",)).digest
    found: list[str] = []
    in_threads(4, lambda: found.append(cell("y = x", {"x": array}, ("x",)).digest))
    assert found == [expected] * 4
