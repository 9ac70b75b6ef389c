"""Runs the programs of a table as notebooks do, and makes the keys of their calls."""

from __future__ import annotations

import ast
import importlib
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fastgpu_jupyter.jobs.cache import CacheKey, NotCacheable, key_of_function
from tests.jobs.cache.pairs import Program


class Submitted(NamedTuple):
    """A call that a notebook submits, before anything ran."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def submitted(code: str, filename: str) -> Submitted:
    """Run all but the last line of a notebook's code, which is a call, and return that call."""
    lines = code.splitlines(keepends=True)
    linecache.cache[filename] = (len(code), None, lines, filename)  # as IPython does
    tree = ast.parse(code)
    call = tree.body.pop()
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(tree, filename, "exec", dont_inherit=True), namespace)

    def value(node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), filename, "eval"), namespace)

    kwargs = {str(one.arg): value(one.value) for one in call.value.keywords}
    return Submitted(value(call.value.func), tuple(map(value, call.value.args)), kwargs)


@contextmanager
def in_folder(program: Program, folder: Path) -> Iterator[None]:
    """Put the files of a program into a folder that is on the path, and forget its modules afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in program.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    before = os.getcwd()  # noqa: PTH109
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.startswith("local_")]:
            del sys.modules[name]


def key_of(program: Program, call: Submitted, folder: Path) -> CacheKey | NotCacheable:
    """Return the key of a call that a program submitted."""
    environment = {"interpreter": sys.executable, "cwd": str(folder), "variables": program.variables}
    return key_of_function(*call, declared=program.declared, environment=environment)
